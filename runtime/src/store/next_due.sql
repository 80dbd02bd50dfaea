-- How many milliseconds until the next delayed row is due; null if there is none.
select ceil(extract(epoch from min(not_before) - clock_timestamp()) * 1000)::bigint as due_ms
from avouch.outbox
where state = 'ready' and not_before is not null
