-- People know of these. $1 names of endpoints that gave messages up, $2 names of endpoints that were disabled, $3 most messages.
with known as (
  update avouch.endpoint e set told = true where e.name = any ($2::text[]) and not e.told
)
update avouch.delivery d
set told = true
from (
  select q.endpoint, q.message_id from avouch.delivery q
  where q.state = 'given_up' and not q.told and q.endpoint = any (array(select e.id from avouch.endpoint e where e.name = any ($1::text[])))
  limit $3
) g
where d.endpoint = g.endpoint and d.message_id = g.message_id and d.state is not distinct from 'given_up'
