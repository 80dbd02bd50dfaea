-- Which role a plugin's statements run as, and what it could do beside reading.
select json_build_object(
  'user', current_user,
  'is_superuser', r.rolsuper,
  'avouch_roles', (
    select coalesce(json_agg(g.rolname order by g.rolname), '[]') from pg_roles g
    where g.rolname in ('avouch_producer', 'avouch_consumer', 'avouch_runtime', 'avouch_viewer') and pg_has_role(r.oid, g.oid, 'member')
  ),
  'writes', (
    select coalesce(json_agg(w.name), '[]') from (
      select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'insert, update, delete, truncate')
      order by 1 limit 5
    ) w
  )
)::text
from pg_roles r where r.rolname = current_user
