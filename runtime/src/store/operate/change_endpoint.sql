-- Another description of an endpoint that was made over the API; null headers stay as they are. No row: there is none. $1 who, $2 why, $3 name,
-- $4 tenant, $5 url, $6 topics, $7 filter, $8 whether it is told in order, $9 settings, $10 names of headers, $11 their values.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), changed as (
  update avouch.endpoint e
  set tenant = $4::text, url = $5::text, topics = $6::text[], filter = $7::text::jsonb, is_ordered = $8::boolean, settings = $9::text::jsonb,
      changed_at = clock_timestamp()
  from said
  where e.name = $3::text and e.origin = 'api' and e.state <> 'removed' and said.why is not null
  returning e.id, e.name
), dropped as (
  delete from avouch.endpoint_secret s using changed
  where s.endpoint = changed.id and s.kind = 'header' and $10::text[] is not null
), along as (
  insert into avouch.endpoint_secret (endpoint, kind, name, value)
  select changed.id, 'header', h.name, h.value from changed, unnest($10::text[], $11::text[]) as h (name, value)
), noted as (
  insert into avouch.audit (actor, action, subject, why)
  select said.who, 'change endpoint', changed.name, nullif(said.why, '') from said, changed
)
select changed.name from changed
