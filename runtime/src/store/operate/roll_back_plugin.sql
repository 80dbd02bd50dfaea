-- An earlier version answers again, as it was deployed then. $1 who, $2 why, $3 name; $4 a version, or how its digest begins, or $5 the deployment;
-- without either, what answered before the current version was deployed first. Returns its digest, and how many versions $4 may mean: of several, none answers.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), current as materialized (
  -- When it came first; nothing after a removal, before which all came. Going back twice does not lead forth again.
  select min(f.id) as first_id from avouch.deployment f
  where f.name = $3::text and f.digest = (select l.digest from avouch.deployment l where l.name = $3 order by l.id desc limit 1)
), meant as materialized (
  select d.id, d.digest, d.grants
  from current cross join avouch.deployment d left join avouch.plugin p on p.name = d.name and p.digest = d.digest
  where d.name = $3 and d.digest is not null and case
    when $5::bigint is not null then d.id = $5
    when $4::text is not null then starts_with(d.digest, $4) or p.version = $4
    else current.first_id is null or d.id < current.first_id end
), versions as materialized (
  select case when $4 is null then least(count(*), 1) else count(distinct m.digest) end as count from meant m
), pointed as (
  insert into avouch.deployment (name, digest, grants, actor)
  select $3, m.digest, m.grants, said.who
  from said cross join versions cross join meant m
  where versions.count = 1
  order by m.id desc
  limit 1
  returning digest
), noted as (
  insert into avouch.audit (actor, action, subject, detail, why)
  select said.who, 'roll back plugin', $3, pointed.digest, nullif(said.why, '') from pointed cross join said
)
select (select pointed.digest from pointed), versions.count from versions
