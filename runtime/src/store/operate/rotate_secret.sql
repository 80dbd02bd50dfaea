-- Another secret signs, beside those that signed, which end after so many seconds. No row: there is no such endpoint of the API.
-- $1 who, $2 why, $3 the endpoint, $4 the secret, $5 seconds.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), who as (
  select e.id, e.name from avouch.endpoint e, said
  where e.name = $3::text and e.origin = 'api' and e.state <> 'removed' and said.why is not null
), ended as (
  update avouch.endpoint_secret s set ends_at = clock_timestamp() + $5::int * interval '1 second'
  from who
  where s.endpoint = who.id and s.kind = 'signature' and s.ends_at is null
), made as (
  insert into avouch.endpoint_secret (endpoint, kind, value) select who.id, 'signature', $4::text from who
), noted as (
  insert into avouch.audit (actor, action, subject, why) select said.who, 'rotate secret', who.name, nullif(said.why, '') from said, who
)
select who.name from who
