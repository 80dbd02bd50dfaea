-- What is told. $1 messages.
select n.message_id, n.topic, n.key, n.payload, n.headers::text, n.created_at
from avouch.notice n
where n.message_id = any ($1)
