-- What signs, newest first, and what is sent along, for endpoints that were made over the API.
select s.endpoint, s.kind, s.name, s.value
from avouch.endpoint_secret s
where s.ends_at is null or s.ends_at > clock_timestamp()
order by s.endpoint, s.kind, s.id desc
