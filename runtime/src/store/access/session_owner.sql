-- Whose session this is; that a person used it is written at most once in a tenth of the idle time. $1: SHA-256 of its id
-- $2: seconds after which an idle one is over, $3: whether a person uses it, or a page that renews itself
-- $4: whether there is an issuer of OpenID Connect: without one, nobody is let in who came from it
with valid as (
  select s.hash, s.token_id, s.who, s.role, s.seen_at
  from avouch.session s left join avouch.token t on t.id = s.token_id
  where s.hash = $1 and s.ends_at > clock_timestamp() and s.seen_at > clock_timestamp() - $2::float8 * interval '1 s'
    and case when s.token_id is null then $4::boolean
        else t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp()) end
), used as (
  update avouch.session s set seen_at = clock_timestamp()
  from valid v
  where $3::boolean and s.hash = v.hash and v.seen_at < clock_timestamp() - $2::float8 * interval '0.1 s'
)
select v.token_id, v.who, v.role from valid v
