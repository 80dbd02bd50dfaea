-- What people did, newest first. $1 before this number, $2 most rows.
select row_to_json(t)::text
from (select a.id, a.at, a.actor, a.action, a.subject, a.detail, a.why from avouch.audit a where a.id < $1 order by a.id desc limit $2) t
