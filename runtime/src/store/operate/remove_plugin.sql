-- Nobody answers to a plugin's name any more. $1 who, $2 why, $3 name.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), pointed as (
  insert into avouch.deployment (name, actor)
  select $3::text, said.who from said where exists (select from avouch.plugin p where p.name = $3)
  returning name
)
insert into avouch.audit (actor, action, subject, why)
select said.who, 'remove plugin', pointed.name, nullif(said.why, '') from pointed cross join said
returning subject
