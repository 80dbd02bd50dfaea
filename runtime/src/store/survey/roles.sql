-- Avouch's group roles: which are missing, which we are in; and what the owner of avouch.pins sees of others' sessions.
with groups (name) as (values ('avouch_producer'), ('avouch_consumer'), ('avouch_runtime'), ('avouch_viewer')),
owner as (
  select o.rolname, o.rolsuper or pg_has_role(o.oid, 'pg_read_all_stats', 'usage') as sees_all
  from pg_proc p join pg_roles o on o.oid = p.proowner
  where p.pronamespace = 'avouch'::regnamespace and p.proname = 'pins' limit 1
)
select json_build_object(
  'missing', (select coalesce(json_agg(g.name), '[]') from groups g where not exists (select from pg_roles r where r.rolname = g.name)),
  'member_of', (
    select coalesce(json_agg(r.rolname order by r.rolname), '[]')
    from pg_roles r join groups g on g.name = r.rolname where pg_has_role(current_user, r.oid, 'usage')
  ),
  'owner', (select o.rolname from owner o),
  'owner_sees_all', coalesce((select o.sees_all from owner o), true)
)::text
