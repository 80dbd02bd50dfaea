-- Dead messages that programs were not told of, oldest first. $1 most rows.
select o.id, f.consumer, c.name, coalesce(f.reason, ''), o.generation, o.created_at, o.topic, o.key, o.payload, o.payload_bytes, o.headers
from (
  select r.message_id, r.consumer, r.reason, r.changed_at from avouch.recovery r
  where r.state = 'dead' and not r.told
  order by r.changed_at
  limit $1
) f
cross join lateral (
  select q.id, q.generation, q.created_at, q.topic, q.key, q.payload, q.payload_bytes, q.headers::text
  from avouch.outbox q where q.id = f.message_id limit 1
) o
left join avouch.consumer c on c.id = f.consumer
order by f.changed_at
