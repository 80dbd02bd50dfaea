-- The endpoints of the configuration, by name: made, or corrected where they differ. One that was removed, or was made over the API, is left
-- as it is and returned, with its origin and state.
-- $1 names, $2 tenants, $3 urls, $4 topics (each a json array), $5 filters, $6 whether they are told in order, $7 settings.
with wanted as materialized (
  select w.name, w.tenant, w.url, array(select json_array_elements_text(w.topics::json)) as topics, w.filter::jsonb as filter,
         w.is_ordered, w.settings::jsonb as settings
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::text[])
       as w (name, tenant, url, topics, filter, is_ordered, settings)
), changed as (
  update avouch.endpoint e
  set tenant = w.tenant, url = w.url, topics = w.topics, filter = w.filter, is_ordered = w.is_ordered, settings = w.settings,
      changed_at = clock_timestamp()
  from wanted w
  where e.name = w.name and e.origin = 'file' and e.state <> 'removed'
    and (e.tenant, e.url, e.topics, e.filter, e.is_ordered, e.settings)
        is distinct from (w.tenant, w.url, w.topics, w.filter, w.is_ordered, w.settings)
), made as (
  insert into avouch.endpoint (name, tenant, url, topics, filter, is_ordered, settings, origin)
  select w.name, w.tenant, w.url, w.topics, w.filter, w.is_ordered, w.settings, 'file' from wanted w
  on conflict on constraint endpoint_name_unique do nothing
)
select e.name, e.origin, e.state
from avouch.endpoint e
where e.name = any ($1) and (e.origin <> 'file' or e.state = 'removed')
order by e.name
