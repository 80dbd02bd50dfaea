-- All consumers, and what they have not finished: counted to 10001, among the first 20000 that anybody has not finished, and the first
-- 20000 that are to be sent again to anybody. One pass over each, however many consumers there are. Where it ends there, is_least says so.
with awaited as materialized (
  select w.consumer, count(*) as messages, min(q.sent_at) as since
  from (
    select o.awaiting, o.sent_at from avouch.outbox o where o.awaiting is not null order by o.stream, o.stream_seq limit 20000
  ) q
  cross join lateral unnest(q.awaiting) as w (consumer)
  group by w.consumer
), whole as materialized (
  select exists (
    select from avouch.outbox o where o.awaiting is not null order by o.stream, o.stream_seq offset 20000 limit 1
  ) as is_left
), pending as materialized (
  select q.consumer, count(*) as messages
  from (select r.consumer from avouch.recovery r where r.state = 'pending' order by r.changed_at limit 20000) q
  group by q.consumer
)
select json_build_object(
  'name', c.name, 'stream', c.stream, 'topics', c.topics, 'is_required', c.is_required, 'receipt', c.receipt,
  'is_paused', exists (select from avouch.hold h where h.kind = 'consumer' and h.name = c.name),
  'unfinished', least(coalesce(a.messages, 0), 10001),
  'is_least', (select w.is_left from whole w),
  'oldest_s', extract(epoch from clock_timestamp() - a.since),
  'pending', least(coalesce(p.messages, 0), 10001),
  'dead', (select count(*) from (select from avouch.recovery r where r.state = 'dead' and r.consumer = c.id limit 10001) w),
  'lease_ms', c.lease_ms, 'attempts_max', c.attempts_max)::text
from avouch.consumer c
left join awaited a on a.consumer = c.id
left join pending p on p.consumer = c.id
order by c.name
