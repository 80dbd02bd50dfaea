-- A person's word on transactions. $1 who, $2 why, $3 commit or rollback, $4 ids.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
)
select t.id
from said
cross join lateral avouch.settle(
  case when said.why is not null then $4::uuid[] end, $3::text, 'operator', array_fill($2::text, array[cardinality($4::uuid[])])
) as t (id)
