-- Transactions that nobody has decided yet, before an id, newest first; however old they are: by checker and time, as many as
-- one look holds (undecided_beyond tells whether there are more). $1 checker or null, $2 before this id, $3 most rows, $4 how many it holds.
with looked as materialized (
  select a.* from avouch.tx a where a.state = 'prepared' and ($1::text is null or a.checker = $1) order by a.checker, a.check_at limit $4::bigint
)
select row_to_json(t)::text
from (
  select q.id, q.checker, q.ref as reference, q.state, q.messages, q.check_at, q.created_at, q.checks, q.unknowns, q.verdict, q.checked_by,
         q.decided_at, q.decided_by, q.reason
  from looked q
  where q.id < $2
  order by q.id desc
  limit $3
) t
