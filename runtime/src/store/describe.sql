-- What is installed in schema avouch, a line an object, alike on every supported version of Postgres.
select line from (
  select format('column %s.%s %s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                case when a.attnotnull then ' not null' else '' end) as line
  from pg_class c join pg_attribute a on a.attrelid = c.oid
  where c.relnamespace = 'avouch'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
  union all
  select format('constraint %s.%s', c.relname, k.conname)
  from pg_constraint k join pg_class c on c.oid = k.conrelid
  where c.relnamespace = 'avouch'::regnamespace and k.contype in ('c', 'p', 'u', 'f') and k.convalidated
  union all
  select 'index ' || pg_get_indexdef(i.indexrelid)
  from pg_index i join pg_class c on c.oid = i.indrelid
  where c.relnamespace = 'avouch'::regnamespace and i.indisvalid
  union all
  -- Bodies bound at creation are printed differently by each version; those of plpgsql are kept as written.
  select format('function %s%s %s', p.oid::regprocedure, case when p.prosecdef then ' security definer' else '' end,
                md5(p.prosrc || coalesce(array_to_string(p.proconfig, ','), '')))
  from pg_proc p where p.pronamespace = 'avouch'::regnamespace
  union all
  select format('trigger %s.%s %s', c.relname, t.tgname, t.tgenabled)
  from pg_trigger t join pg_class c on c.oid = t.tgrelid
  where c.relnamespace = 'avouch'::regnamespace and not t.tgisinternal
  union all
  select format('grant %s %s on %s', acl.grantee::regrole, lower(acl.privilege_type), c.relname)
  from pg_class c cross join lateral aclexplode(c.relacl) acl
  where c.relnamespace = 'avouch'::regnamespace and acl.grantee::regrole::text like 'avouch\_%' and c.relkind in ('r', 'S')
    and acl.grantee <> c.relowner
  union all
  select format('grant %s %s on %s.%s', acl.grantee::regrole, lower(acl.privilege_type), c.relname, a.attname)
  from pg_class c join pg_attribute a on a.attrelid = c.oid cross join lateral aclexplode(a.attacl) acl
  where c.relnamespace = 'avouch'::regnamespace and acl.grantee::regrole::text like 'avouch\_%'
  union all
  select format('grant %s %s on %s', case when acl.grantee = 0 then 'public' else acl.grantee::regrole::text end,
                lower(acl.privilege_type), p.oid::regprocedure)
  from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
  where p.pronamespace = 'avouch'::regnamespace
    and (acl.grantee = 0 or acl.grantee::regrole::text like 'avouch\_%') and acl.grantee <> p.proowner
) lines
order by line collate "C"
