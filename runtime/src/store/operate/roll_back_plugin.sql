-- An earlier version answers again. $1 who, $2 why, $3 name, $4 how its digest begins, or null: the one before.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), pointed as (
  insert into avouch.deployment (name, digest, grants, actor)
  select d.name, d.digest, d.grants, said.who
  from said cross join avouch.deployment d
  where d.name = $3::text and d.digest is not null and case when $4::text is null
    then d.digest is distinct from (select l.digest from avouch.deployment l where l.name = $3 order by l.id desc limit 1)
    else starts_with(d.digest, $4) end
  order by d.id desc
  limit 1
  returning digest
), noted as (
  insert into avouch.audit (actor, action, subject, detail, why)
  select said.who, 'roll back plugin', $3, pointed.digest, nullif(said.why, '') from pointed cross join said
)
select pointed.digest from pointed
