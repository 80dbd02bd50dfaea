-- The tables: how much of them is dead, when that was cleaned last, how they are told to be cleaned, how old they are.
select coalesce(json_agg(json_build_object(
  'name', c.relname,
  'live', s.n_live_tup,
  'dead', s.n_dead_tup,
  'vacuumed_s', extract(epoch from clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum)),
  'options', coalesce(c.reloptions, '{}'),
  'bytes', pg_table_size(c.oid)
) order by c.relname), '[]')::text
from pg_class c join pg_stat_user_tables s on s.relid = c.oid
where c.relnamespace = 'avouch'::regnamespace and c.relkind = 'r'
