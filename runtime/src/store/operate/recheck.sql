-- Has checkers asked again. $1 who, $2 why, $3 ids.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
)
select t.id from said cross join lateral avouch.recheck(case when said.why is not null then $3::uuid[] end) as t (id)
