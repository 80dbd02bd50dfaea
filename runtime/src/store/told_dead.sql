-- Programs were told of these. $1 messages, $2 consumers: two arrays side by side.
update avouch.recovery r set told = true
from unnest($1::uuid[], $2::int[]) as t (id, consumer)
cross join lateral (
  select q.ctid as place from avouch.recovery q where q.message_id = t.id and q.consumer = t.consumer limit 1
) found
where r.ctid = found.place and r.state is not distinct from 'dead'
