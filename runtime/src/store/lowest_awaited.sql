-- The first sequence of a stream's incarnation that a consumer has not finished; null if there is none. $1 consumer, $2 incarnation.
select min(place.stream_seq)
from (
  (select o.stream_seq from avouch.outbox o
   where o.stream = $2 and o.awaiting is not null and $1 = any (o.awaiting) order by o.stream_seq limit 1)
  union all
  (select r.stream_seq from avouch.recovery r
   where r.consumer = $1 and r.state = 'sent' and r.stream = $2 order by r.stream_seq limit 1)
) place
