-- Transactions of this database that were prepared (XA) and not ended, oldest first.
select coalesce(json_agg(json_build_object(
  'gid', p.gid, 'owner', p.owner, 'seconds', extract(epoch from clock_timestamp() - p.prepared)
) order by p.prepared), '[]')::text
from (select x.* from pg_prepared_xacts x where x.database = current_database() order by x.prepared limit 20) p
