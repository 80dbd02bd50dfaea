-- One message, without its payload. $1 id.
select o.state, o.topic, o.key, s.name as stream, o.stream_seq, o.generation, o.created_at, o.reason
from avouch.outbox o left join avouch.stream s on s.id = o.stream
where o.id = $1::uuid
