-- What this endpoint is told with a topic and a key, the newest first, among the newest of all messages that have them.
-- $1 endpoint, $2 topic, $3 key, $4 below this id, $5 most messages looked at, $6 most rows.
select d.message_id, n.topic, n.key, n.created_at, d.state, d.attempts, d.next_at, d.status, d.ended_at
from (
  select q.message_id, q.topic, q.key, q.created_at
  from avouch.notice q
  where q.topic = $2 and q.key = $3 and q.message_id < $4
  order by q.message_id desc
  limit $5
) n
join avouch.delivery d on d.endpoint = $1 and d.message_id = n.message_id
order by n.message_id desc
limit $6
