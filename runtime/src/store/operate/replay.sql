-- Sends messages once more to a consumer. $1 who, $2 why, $3 consumer, $4 ids, $5 whether its records are forgotten.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
)
select t.id from said cross join lateral avouch.replay(case when said.why is not null then $3::text end, $4::uuid[], $5::boolean) as t (id)
