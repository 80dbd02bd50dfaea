-- What is held, newest first. $1 most rows.
select row_to_json(t)::text
from (select h.kind, h.name, h.message_id, h.reason, h.created_at from avouch.hold h order by h.created_at desc limit $1) t
