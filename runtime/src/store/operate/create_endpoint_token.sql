-- A token with which a receiver asks what it was told. No row: there is no such endpoint. $1 who, $2 why, $3 the endpoint, $4 the token's SHA-256,
-- $5 days, or null for good.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), made as (
  insert into avouch.endpoint_token (endpoint, hash, created_by, ends_at)
  select e.id, $4::bytea, said.who, clock_timestamp() + $5::int * interval '1 day'
  from avouch.endpoint e, said
  where e.name = $3::text and e.state <> 'removed' and said.why is not null
  returning id
), noted as (
  insert into avouch.audit (actor, action, subject, why) select said.who, 'create endpoint token', $3, nullif(said.why, '') from said, made
)
select made.id from made
