-- Replication slots: who reads them, and what they keep.
select coalesce(json_agg(json_build_object(
  'name', s.slot_name,
  'is_read', s.active,
  'pid', s.active_pid,
  'state', coalesce(s.wal_status, 'unknown'),
  'xmin_age', age(s.xmin),
  'kept_bytes', coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::bigint
) order by s.slot_name), '[]')::text
from pg_replication_slots s
