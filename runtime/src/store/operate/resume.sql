-- Lets what is paused go on. $1 who, $2 why, $3 topic, key or consumer, $4 its name.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
)
select avouch.resume(case when said.why is not null then $3::text end, $4::text) from said
