-- Adds calls of plugins to those of this hour, in one order, so that instances do not wait for each other in a circle; hours of a month ago
-- are forgotten. $1 plugins, $2 digests, $3 calls, $4 errors, $5 faults, $6 microseconds of all of them, $7 of the longest: seven arrays
-- side by side.
with forgotten as (
  delete from avouch.plugin_use o where o.hour < now() - interval '31 days'
)
insert into avouch.plugin_use as u (name, digest, hour, calls, errors, faults, took_us, took_max_us)
select a.name, a.digest, date_trunc('hour', clock_timestamp(), 'UTC'), a.calls, a.errors, a.faults, a.took_us, a.took_max_us
from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
  as a (name, digest, calls, errors, faults, took_us, took_max_us)
order by a.name, a.digest
on conflict on constraint plugin_use_pkey do update
set calls = u.calls + excluded.calls, errors = u.errors + excluded.errors, faults = u.faults + excluded.faults,
    took_us = u.took_us + excluded.took_us, took_max_us = greatest(u.took_max_us, excluded.took_max_us)
