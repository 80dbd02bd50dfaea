-- Sessions that may go on, the last used first. $1 seconds after which an idle one is over or null, $2 whether there is an issuer of
-- OpenID Connect.
select s.who, s.role, case when s.token_id is null then 'oidc' else 'token' end, s.created_at, s.seen_at, s.ends_at
from avouch.session s left join avouch.token t on t.id = s.token_id
where s.ends_at > clock_timestamp() and ($1::float8 is null or s.seen_at > clock_timestamp() - $1 * interval '1 s')
  and case when s.token_id is null then $2::boolean
      else t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp()) end
order by s.seen_at desc
limit 1000
