-- Endpoints that are not removed, with what waits for them and what was given up, counted to 10000. $1 the name of one, or null.
select json_build_object(
  'name', e.name, 'tenant', e.tenant, 'url', e.url, 'topics', e.topics, 'filter', e.filter, 'ordered', e.is_ordered,
  'settings', e.settings, 'origin', e.origin, 'state', e.state, 'reason', e.reason, 'failing_since', e.failing_since,
  'created_at', e.created_at, 'changed_at', e.changed_at,
  'waiting', (select count(*) from (select from avouch.delivery d where d.endpoint = e.id and d.state = 'waiting' limit 10000) w),
  'given_up', (select count(*) from (select from avouch.delivery d where d.endpoint = e.id and d.state = 'given_up' and d.rounds > 0 limit 10000) g),
  'next_at', (select d.next_at from avouch.delivery d where d.endpoint = e.id and d.state = 'waiting' order by d.next_at limit 1))::text
from avouch.endpoint e
where e.state <> 'removed' and ($1::text is null or e.name = $1)
order by e.name
