-- Dead messages that programs were not told of, oldest first. $1 most rows.
select f.id, f.consumer_id, f.consumer, f.reason, o.generation, o.created_at, o.topic, o.key, o.payload, o.payload_bytes, o.headers::text
from avouch.failures() f
join avouch.outbox o on o.id = f.id
where not exists (select from avouch.dead_letter d where d.message_id = f.id and d.consumer = f.consumer_id)
order by f.seq
limit $1
