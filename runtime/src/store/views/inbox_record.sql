-- One record of a consumer. $1 consumer, $2 key.
select json_build_object(
  'consumer', c.name, 'key', i.key, 'state', i.state, 'attempts', i.attempts, 'until', i.until, 'version', i.version, 'message_id', i.message_id,
  'reason', i.reason, 'created_at', i.created_at, 'changed_at', i.changed_at)::text
from avouch.consumer c join avouch.inbox i on i.consumer = c.id
where c.name = $1 and i.key = $2
