-- All consumers, and what they have not finished: counted to 10000, among the first 50000 that anybody has not finished.
with awaited as materialized (
  select w.awaiting, w.sent_at
  from (
    select o.awaiting, o.sent_at from avouch.outbox o where o.awaiting is not null order by o.stream, o.stream_seq limit 50000
  ) w
)
select json_build_object(
  'name', c.name, 'stream', c.stream, 'topics', c.topics, 'is_required', c.is_required, 'receipt', c.receipt,
  'is_paused', exists (select from avouch.hold h where h.kind = 'consumer' and h.name = c.name),
  'unfinished', (select count(*) from (select from awaited a where c.id = any (a.awaiting) limit 10000) w),
  'oldest_s', (select extract(epoch from clock_timestamp() - min(a.sent_at)) from awaited a where c.id = any (a.awaiting)),
  'pending', (select count(*) from (select from avouch.recovery r where r.state = 'pending' and r.consumer = c.id limit 10000) w),
  'dead', (select count(*) from (select from avouch.recovery r where r.state = 'dead' and r.consumer = c.id limit 10000) w),
  'lease_ms', c.lease_ms, 'attempts_max', c.attempts_max)::text
from avouch.consumer c
order by c.name
