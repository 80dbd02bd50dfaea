-- A token is made. $1 SHA-256 of it, $2 name, $3 role, $4 days that it is valid or null for good, $5 who makes it, $6 why.
with made as (
  insert into avouch.token (hash, name, role, created_by, expires_at)
  select $1::bytea, $2::text, $3::text, $5::text, clock_timestamp() + $4::int * interval '1 day'
  returning name, role, created_at, created_by, expires_at
), audited as (
  insert into avouch.audit (actor, action, subject, detail, why)
  select m.created_by, 'create token', m.name, format('role %s, until %s', m.role, coalesce(m.expires_at::text, 'it is revoked')), $6::text
  from made m
)
select m.name, m.role, 'valid', m.created_at, m.created_by, m.expires_at, null::timestamptz, null::timestamptz from made m
