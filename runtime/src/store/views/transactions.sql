-- Transactions before an id, newest first: of those made lately, a bounded number is looked at (tx_looked_to tells how far).
-- $1 states, $2 checker or null, $3 before this id, $4 most rows, $5 most that are looked at.
select row_to_json(t)::text
from (
  select q.id, q.checker, q.ref as reference, q.state, q.messages, q.check_at, q.created_at, q.checks, q.unknowns, q.verdict, q.checked_by,
         q.decided_at, q.decided_by, q.reason
  from (select * from avouch.tx a where a.id < $3 order by a.id desc limit $5::bigint) q
  where q.state = any ($1::text[]) and ($2::text is null or q.checker = $2)
  order by q.id desc
  limit $4
) t
