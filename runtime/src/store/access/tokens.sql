-- Tokens, the newest first; revoked ones of the last thirty days
select t.name, t.role,
       case when t.revoked_at is not null then 'revoked' when t.expires_at <= clock_timestamp() then 'expired' else 'valid' end,
       t.created_at, t.created_by, t.expires_at, t.last_used_at, t.revoked_at
from avouch.token t
where t.revoked_at is null or t.revoked_at > clock_timestamp() - interval '30 days'
order by t.created_at desc
limit 1000
