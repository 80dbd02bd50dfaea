-- Of what people are to be told: messages that were given up, by endpoint, and endpoints that an answer has disabled. $1 most messages.
select e.name, 'given_up', count(*), max(g.message_id::text), max(g.reason)
from (
  select d.endpoint, d.message_id, d.reason from avouch.delivery d
  where d.state = 'given_up' and not d.told
  order by d.endpoint
  limit $1
) g
join avouch.endpoint e on e.id = g.endpoint
group by e.name
union all
select e.name, 'disabled', 1, '', coalesce(e.reason, '') from avouch.endpoint e where not e.told
