-- What answers to each plugin name now.
select d.name, d.digest, d.grants::text, d.id
from avouch.deployment d
where d.id = (select max(l.id) from avouch.deployment l where l.name = d.name)
order by d.name
