-- How far this database is on the way to a wraparound of transaction ids, and when vacuuming against it begins.
select json_build_object(
  'xids', age(d.datfrozenxid),
  'multixacts', mxid_age(d.datminmxid),
  'xids_freeze', current_setting('autovacuum_freeze_max_age')::bigint,
  'multixacts_freeze', current_setting('autovacuum_multixact_freeze_max_age')::bigint
)::text
from pg_database d where d.datname = current_database()
