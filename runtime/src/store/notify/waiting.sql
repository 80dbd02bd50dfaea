-- What endpoints are to be told, and for how many seconds the oldest of it has been known: of each the first so many by their next try are
-- looked at. $1 most rows of each.
select e.name, w.count, coalesce(extract(epoch from clock_timestamp() - n.recorded_at), 0)::float8
from avouch.endpoint e
cross join lateral (
  select count(*) as count, min(q.message_id::text)::uuid as oldest
  from (
    select d.message_id from avouch.delivery d
    where d.endpoint = e.id and d.state = 'waiting'
    order by d.next_at
    limit $1::bigint
  ) q
) w
left join avouch.notice n on n.message_id = w.oldest
where e.state <> 'removed'
