-- The server, who we are there, and what a fresh session of ours is given.
select json_build_object(
  'version', current_setting('server_version'),
  'version_num', current_setting('server_version_num')::int,
  'encoding', current_setting('server_encoding'),
  'database', current_database(),
  'user', current_user,
  'is_superuser', r.rolsuper,
  'is_replica', pg_is_in_recovery(),
  'is_read_only', (select s.reset_val = 'on' from pg_settings s where s.name = 'default_transaction_read_only'),
  'sessions', (select count(*) from pg_stat_activity a where a.datid is not null),
  'own_sessions', (select count(*) from pg_stat_activity a where a.datid is not null and a.usename = current_user),
  'role_limit', r.rolconnlimit,
  'database_limit', d.datconnlimit,
  'settings', (
    select json_object_agg(s.name, s.reset_val) from pg_settings s
    where s.name in (
      'fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'track_counts', 'jit', 'max_connections',
      'superuser_reserved_connections', 'reserved_connections', 'max_prepared_transactions', 'statement_timeout',
      'idle_in_transaction_session_timeout')
  )
)::text
from pg_roles r, pg_database d where r.rolname = current_user and d.datname = current_database()
