-- The checkers that have undecided transactions, and in how many ms the first of each is due (0: now). One look into the
-- index for each checker.
with recursive known as (
  (select t.checker from avouch.tx t where t.state = 'prepared' order by t.checker limit 1)
  union all
  select (select t.checker from avouch.tx t where t.state = 'prepared' and t.checker > k.checker order by t.checker limit 1)
  from known k
  where k.checker is not null
)
select k.checker,
       ceil(least(greatest(extract(epoch from first.check_at - clock_timestamp()) * 1000, 0), 86400000))::bigint as due_in_ms
from known k
cross join lateral (
  select t.check_at from avouch.tx t where t.state = 'prepared' and t.checker = k.checker order by t.check_at limit 1
) first
where k.checker is not null
