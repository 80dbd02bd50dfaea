-- Who bears a valid token; that it was used is written at most once a minute. $1: SHA-256 of the token
with valid as (
  select t.id, t.name, t.role, t.last_used_at
  from avouch.token t
  where t.hash = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp())
), used as (
  update avouch.token t set last_used_at = clock_timestamp()
  from valid v
  where t.id = v.id and (v.last_used_at is null or v.last_used_at < clock_timestamp() - interval '1 minute')
)
select v.id, v.name, v.role from valid v
