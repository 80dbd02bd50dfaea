-- What an endpoint was not told, pings apart, the last given up first, before one of them. $1 the endpoint, $2 that message or null, $3 most rows.
with who as materialized (
  select e.id from avouch.endpoint e where e.name = $1
), last as materialized (
  select l.ended_at, l.message_id from avouch.delivery l, who where l.endpoint = who.id and l.message_id = $2::uuid
)
select json_build_object(
  'endpoint', $1::text, 'message_id', d.message_id, 'topic', n.topic, 'key', n.key, 'bytes', octet_length(n.payload), 'state', d.state,
  'round', d.rounds, 'attempts', d.attempts, 'next_at', case when d.state = 'waiting' then d.next_at end, 'status', d.status,
  'reason', d.reason, 'created_at', n.created_at, 'recorded_at', n.recorded_at, 'ended_at', d.ended_at)::text
from (
  select q.* from avouch.delivery q
  where q.endpoint = (select who.id from who) and q.state = 'given_up' and q.rounds > 0
    and q.ended_at <= coalesce((select last.ended_at from last), 'infinity')
    and (q.ended_at, q.message_id) < (coalesce((select last.ended_at from last), 'infinity'), coalesce((select last.message_id from last), 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  order by q.ended_at desc, q.message_id desc
  limit $3
) d
join avouch.notice n on n.message_id = d.message_id
order by d.ended_at desc, d.message_id desc
