-- An endpoint, what signs for it and what is sent along. No row: its name is taken. $1 who, $2 why, $3 name, $4 tenant, $5 url, $6 topics,
-- $7 filter, $8 whether it is told in order, $9 settings, $10 what signs, $11 names of headers, $12 their values.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), made as (
  insert into avouch.endpoint (name, tenant, url, topics, filter, is_ordered, settings, origin)
  select $3::text, $4::text, $5::text, $6::text[], $7::text::jsonb, $8::boolean, $9::text::jsonb, 'api' from said where said.why is not null
  on conflict on constraint endpoint_name_unique do nothing
  returning id, name
), signs as (
  insert into avouch.endpoint_secret (endpoint, kind, value) select made.id, 'signature', $10::text from made
), along as (
  insert into avouch.endpoint_secret (endpoint, kind, name, value)
  select made.id, 'header', h.name, h.value from made, unnest($11::text[], $12::text[]) as h (name, value)
), noted as (
  insert into avouch.audit (actor, action, subject, why) select said.who, 'create endpoint', made.name, nullif(said.why, '') from said, made
)
select made.name from made
