-- Transactions that a person must decide, before an id, newest first. $1 checker or null, $2 before this id, $3 most rows.
select row_to_json(t)::text
from (
  select q.id, q.checker, q.ref as reference, q.state, q.messages, q.check_at, q.created_at, q.checks, q.unknowns, q.verdict, q.checked_by,
         q.decided_at, q.decided_by, q.reason
  from avouch.tx q
  where q.state = 'in_doubt' and q.id < $2 and ($1::text is null or q.checker = $1)
  order by q.id desc
  limit $3
) t
