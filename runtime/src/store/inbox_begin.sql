-- May they act? One answer a question, in the order of the questions, which come by consumer and key: two batches lock in one
-- order. What nobody has begun is begun by one insert; about the rest avouch.inbox_begin decides.
-- $1 consumers, $2 keys, $3 fingerprints, $4 versions, $5 messages, $6 whether a plugin judges: six arrays side by side.
with asked as materialized (
  select a.*, c.id as who, c.lease_ms
  from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::uuid[], $6::boolean[]) with ordinality
    as a (consumer, key, fingerprint, version, message, is_judged, n)
  left join avouch.consumer c on c.name = a.consumer
), begun as (
  insert into avouch.inbox as i (consumer, key, state, message_id, fingerprint, version, until)
  select a.who, a.key, 'running', a.message, a.fingerprint, a.version, clock_timestamp() + a.lease_ms * interval '1 ms'
  from asked a where a.who is not null and not a.is_judged
  order by a.n
  on conflict do nothing
  returning i.consumer, i.key, i.token, i.attempts
)
select coalesce(d.decision, 'run'), coalesce(b.token, d.token), coalesce(b.attempts, d.attempt),
       case when b.token is null then d.lease_ms else a.lease_ms end, d.retry_after_ms, d.result, d.reason,
       (d.seen).state, (d.seen).revision, (d.seen).attempts, (d.seen).message_id, (d.seen).fingerprint, (d.seen).version,
       (extract(epoch from (d.seen).changed_at) * 1000)::bigint
from asked a
left join begun b on b.consumer = a.who and b.key = a.key
-- The fence keeps the condition inside, so that it is not asked about what has begun.
left join lateral (
  select f.* from avouch.inbox_begin(a.consumer, a.key, a.fingerprint, a.version, a.message, null, a.is_judged) f
  where b.token is null offset 0
) d on true
order by a.n
