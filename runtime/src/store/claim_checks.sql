-- Due transactions, for this instance alone for a while: until check_at, nobody else asks about them; that value is also what a
-- verdict that does not decide is guarded by.
-- $1 checkers and $2 how many of each, side by side; $3 ms until somebody else may ask.
with due as (
  select t.id
  from unnest($1::text[], $2::int[]) as ask (checker, rows)
  cross join lateral (
    select q.id
    from avouch.tx q
    where q.checker = ask.checker and q.state = 'prepared' and q.check_at <= now()
    order by q.check_at
    limit ask.rows
    for update skip locked
  ) t
)
update avouch.tx t
set check_at = clock_timestamp() + $3::bigint * interval '1 ms', checks = t.checks + 1
from due
where t.id = due.id and t.state is not distinct from 'prepared'
returning t.id, t.checker, t.ref, (extract(epoch from clock_timestamp() - t.created_at) * 1000)::bigint as age_ms,
          (extract(epoch from clock_timestamp() - t.checking_since) * 1000)::bigint as checking_ms, t.checks, t.unknowns, t.messages, t.check_at
