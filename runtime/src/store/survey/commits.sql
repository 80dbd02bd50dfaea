-- What synchronous_commit is for those who produce, of whatever group: the server's own value, if our session shows it, and what is set
-- for the database, for all, for each of them and for us.
with recursive members (oid) as (
  select r.oid from pg_roles r where r.rolname = 'avouch_producer'
  union
  select m.member from members g join pg_auth_members m on m.roleid = g.oid
), producers as (
  select r.oid, r.rolname from members m join pg_roles r on r.oid = m.oid where r.rolcanlogin order by r.rolname limit 1000
), assigned as (
  select s.setrole, s.setdatabase, split_part(c.setting, '=', 2) as value
  from pg_db_role_setting s cross join lateral unnest(s.setconfig) c (setting)
  where c.setting like 'synchronous\_commit=%'
    and s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
)
select json_build_object(
  'server', (
    select s.reset_val from pg_settings s
    where s.name = 'synchronous_commit' and s.source not in ('global', 'database', 'user', 'database user', 'client', 'session')
  ),
  'has_standbys', coalesce(current_setting('synchronous_standby_names', true), '') <> '',
  'producers', (select coalesce(json_agg(p.rolname order by p.rolname), '[]') from producers p),
  'set', (
    select coalesce(json_agg(json_build_object('role', r.rolname, 'is_here', a.setdatabase <> 0, 'value', a.value)), '[]')
    from assigned a left join pg_roles r on r.oid = a.setrole
    where a.setrole = 0 or r.rolname = current_user or r.oid in (select p.oid from producers p)
  )
)::text
