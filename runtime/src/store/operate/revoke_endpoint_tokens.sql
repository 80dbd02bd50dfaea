-- Revokes what a receiver asks with. $1 who, $2 why, $3 the endpoint.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), revoked as (
  update avouch.endpoint_token t set revoked_at = clock_timestamp()
  from avouch.endpoint e, said
  where e.id = t.endpoint and e.name = $3::text and t.revoked_at is null and said.why is not null
  returning t.id
), noted as (
  insert into avouch.audit (actor, action, subject, why)
  select said.who, 'revoke endpoint tokens', $3, nullif(said.why, '') from said where exists (select from revoked)
)
select count(*) from revoked
