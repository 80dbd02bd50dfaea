-- What answered and answers to plugins' names, newest first. $1 plugin or null, $2 most rows.
select json_build_object(
  'id', d.id, 'name', d.name, 'digest', d.digest, 'version', p.version, 'grants', d.grants, 'at', d.at, 'actor', d.actor,
  'is_current', not exists (select from avouch.deployment l where l.name = d.name and l.id > d.id), 'bytes', octet_length(p.file))::text
from avouch.deployment d left join avouch.plugin p on p.name = d.name and p.digest = d.digest
where $1::text is null or d.name = $1
order by d.id desc
limit $2
