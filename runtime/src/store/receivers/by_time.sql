-- What this endpoint is told, in the order of the ids. The bounds are rows, so that no index that leads by the ids of all endpoints serves.
-- $1 endpoint, $2 above this id, $3 below this id, $4 most rows.
select d.message_id, n.topic, n.key, n.created_at, d.state, d.attempts, d.next_at, d.status, d.ended_at
from (
  select q.message_id, q.state, q.attempts, q.next_at, q.status, q.ended_at
  from avouch.delivery q
  where (q.endpoint, q.message_id) > ($1, $2) and (q.endpoint, q.message_id) < ($1, $3)
  order by q.endpoint, q.message_id
  limit $4
) d
join avouch.notice n on n.message_id = d.message_id
order by d.message_id
