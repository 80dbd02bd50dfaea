-- What plugins said, newest first. $1 plugin or null, $2 before this number, $3 most rows.
select row_to_json(t)::text
from (
  select l.id, l.at, l.plugin, l.digest, l.tx_id, l.level, l.line
  from avouch.plugin_log l
  where l.id < $2 and ($1::text is null or l.plugin = $1)
  order by l.id desc
  limit $3
) t
