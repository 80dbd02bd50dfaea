-- A consumer's records of the first messages that it has not finished: runs in progress, waiting ones, parked and rejected ones.
-- $1 consumer, $2 most rows.
select json_build_object(
  'consumer', c.name, 'key', i.key, 'state', i.state, 'attempts', i.attempts, 'until', i.until, 'version', i.version, 'message_id', i.message_id,
  'reason', i.reason, 'created_at', i.created_at, 'changed_at', i.changed_at)::text
from avouch.consumer c
cross join lateral (
  select w.id from (
    select o.id, o.awaiting from avouch.outbox o where o.awaiting is not null order by o.stream, o.stream_seq limit 10000
  ) w
  where c.id = any (w.awaiting)
) o
cross join lateral (
  (select q.* from avouch.inbox q where q.consumer = c.id and q.key = o.id::text limit 1)
  union all
  -- Under what a plugin made of it.
  (select q.* from avouch.inbox q where q.message_id = o.id and q.key <> q.message_id::text and q.consumer = c.id limit 10)
) i
where c.name = $1
limit $2
