-- Whom a message is or was told. $1 the message.
select json_build_object(
  'endpoint', e.name, 'message_id', d.message_id, 'topic', n.topic, 'key', n.key, 'bytes', octet_length(n.payload), 'state', d.state,
  'round', d.rounds, 'attempts', d.attempts, 'next_at', case when d.state = 'waiting' then d.next_at end, 'status', d.status,
  'reason', d.reason, 'created_at', n.created_at, 'recorded_at', n.recorded_at, 'ended_at', d.ended_at)::text
from avouch.delivery d
join avouch.endpoint e on e.id = d.endpoint
join avouch.notice n on n.message_id = d.message_id
where d.message_id = $1
order by e.name
