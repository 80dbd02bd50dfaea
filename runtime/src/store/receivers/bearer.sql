-- Whose token this is, and what signs for it, newest first, if it was made over the API. A disabled endpoint may ask, a removed one may not.
-- $1 hash.
select e.id, e.name, e.state = 'enabled', e.origin = 'api',
       array(
         select s.value from avouch.endpoint_secret s
         where s.endpoint = e.id and s.kind = 'signature' and (s.ends_at is null or s.ends_at > clock_timestamp())
         order by s.id desc)
from avouch.endpoint_token t
join avouch.endpoint e on e.id = t.endpoint
where t.hash = $1 and t.revoked_at is null and (t.ends_at is null or t.ends_at > clock_timestamp()) and e.state <> 'removed'
