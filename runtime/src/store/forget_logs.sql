-- Deletes all but the newest lines of plugins' logs, a bounded number at a time. $1 lines to keep, $2 most lines.
delete from avouch.plugin_log
where id in (
  select id from avouch.plugin_log where id <= (select max(id) - $1::bigint from avouch.plugin_log) order by id limit $2::bigint
)
