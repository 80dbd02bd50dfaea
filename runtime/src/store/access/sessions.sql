-- Sessions that may go on, the last used first
select s.who, s.role, case when s.token_id is null then 'oidc' else 'token' end, s.created_at, s.seen_at, s.ends_at
from avouch.session s left join avouch.token t on t.id = s.token_id
where s.ends_at > clock_timestamp()
  and (s.token_id is null or (t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp())))
order by s.seen_at desc
limit 1000
