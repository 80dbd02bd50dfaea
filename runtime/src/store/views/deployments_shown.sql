-- What answered and answers to plugins' names, newest first, with the calls of these versions in the last 24 hours. $1 plugin or null, $2 most rows.
select json_build_object(
  'id', d.id, 'name', d.name, 'digest', d.digest, 'version', p.version, 'grants', d.grants, 'at', d.at, 'actor', d.actor,
  'is_current', not exists (select from avouch.deployment l where l.name = d.name and l.id > d.id), 'bytes', octet_length(p.file),
  'calls', coalesce(u.calls, 0), 'errors', coalesce(u.errors, 0), 'faults', coalesce(u.faults, 0), 'mean_ms', u.mean_ms, 'max_ms', u.max_ms)::text
from avouch.deployment d
left join avouch.plugin p on p.name = d.name and p.digest = d.digest
cross join lateral (
  select sum(q.calls) as calls, sum(q.errors) as errors, sum(q.faults) as faults, sum(q.took_us)::double precision / nullif(sum(q.calls), 0) / 1000 as mean_ms,
         max(q.took_max_us)::double precision / 1000 as max_ms
  from avouch.plugin_use q
  where q.name = d.name and q.digest = d.digest and q.hour > clock_timestamp() - interval '24 hours'
) u
where $1::text is null or d.name = $1
order by d.id desc
limit $2
