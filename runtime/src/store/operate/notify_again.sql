-- Tells an endpoint these messages once more. $1 who, $2 why, $3 the endpoint, $4 the messages.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
)
select a.id from said cross join lateral avouch.notify_again(case when said.why is not null then $3::text end, $4::uuid[]) as a (id)
