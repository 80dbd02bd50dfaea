-- A version of a plugin, and that it answers from now on. $1 who, $2 why, $3 name, $4 digest, $5 version, $6 file, $7 grants.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), kept as (
  insert into avouch.plugin (name, digest, version, file)
  select $3::text, $4::text, $5::text, $6::bytea from said where said.why is not null
  on conflict do nothing
), pointed as (
  insert into avouch.deployment (name, digest, grants, actor) select $3, $4, $7::jsonb, said.who from said
)
insert into avouch.audit (actor, action, subject, detail, why)
select said.who, 'deploy', $3, $4, nullif(said.why, '') from said
