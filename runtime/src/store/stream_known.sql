-- What is known of a stream: the number of what it was when it was seen last, how far messages came in it, and what stood there, the
-- highest first; and the last loss that was noticed. $1 name.
select s.id, s.incarnation,
       array(select r.stream_seq from avouch.reached r where r.stream = s.id order by r.stream_seq desc, r.shard limit 16),
       array(select r.message_id from avouch.reached r where r.stream = s.id order by r.stream_seq desc, r.shard limit 16),
       (select coalesce(max(l.id), 0) from avouch.loss l)
from avouch.stream s
where s.name = $1
order by s.id desc
limit 1
