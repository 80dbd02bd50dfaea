-- One transaction. $1 id.
select row_to_json(t)::text
from (
  select q.id, q.checker, q.ref as reference, q.state, q.messages, q.check_at, q.created_at, q.checks, q.unknowns, q.verdict, q.checked_by,
         q.decided_at, q.decided_by, q.reason
  from avouch.tx q where q.id = $1
) t
