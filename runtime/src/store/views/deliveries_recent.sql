-- What an endpoint is or was told, the latest message first, before one of them. Compared as a pair, so that the primary key is read and not
-- the messages of all endpoints. $1 the endpoint, $2 that message, $3 most rows.
select json_build_object(
  'endpoint', $1::text, 'message_id', d.message_id, 'topic', n.topic, 'key', n.key, 'bytes', octet_length(n.payload), 'state', d.state,
  'round', d.rounds, 'attempts', d.attempts, 'next_at', case when d.state = 'waiting' then d.next_at end, 'status', d.status,
  'reason', d.reason, 'created_at', n.created_at, 'recorded_at', n.recorded_at, 'ended_at', d.ended_at)::text
from (
  select q.* from avouch.delivery q
  where q.endpoint >= (select e.id from avouch.endpoint e where e.name = $1)
    and (q.endpoint, q.message_id) < ((select e.id from avouch.endpoint e where e.name = $1), $2::uuid)
  order by q.endpoint desc, q.message_id desc
  limit $3
) d
join avouch.notice n on n.message_id = d.message_id
order by d.message_id desc
