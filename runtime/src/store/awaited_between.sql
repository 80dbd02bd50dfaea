-- The first place where somebody waits for a consumer, and what stands there. $1 stream, $2 above this sequence, $3 below this one.
select o.stream_seq, o.id
from avouch.outbox o
where o.stream = $1 and o.stream_seq > $2 and o.stream_seq < $3 and o.awaiting is not null
order by o.stream_seq
limit 1
