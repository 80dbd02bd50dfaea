-- One message, if this endpoint is told of it. $1 endpoint, $2 message.
select d.message_id, n.topic, n.key, n.created_at, d.state, d.attempts, d.next_at, d.status, d.ended_at, n.headers::text, n.payload
from avouch.delivery d
join avouch.notice n on n.message_id = d.message_id
where d.endpoint = $1 and d.message_id = $2
