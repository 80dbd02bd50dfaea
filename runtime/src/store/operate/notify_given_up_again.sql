-- Tells an endpoint what was given up since then once more. $1 who, $2 why, $3 the endpoint, $4 since, $5 most messages.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
)
select avouch.notify_given_up_again(case when said.why is not null then $3::text end, $4::timestamptz, $5::int) from said
