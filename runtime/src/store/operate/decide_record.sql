-- What becomes of a parked or rejected record. $1 who, $2 why, $3 consumer, $4 key, $5 retry or done.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
)
select avouch.inbox_decide(case when said.why is not null then $3::text end, $4::text, $5::text, $2) from said
