-- May they act? One answer a question, in the order of the questions, which come by consumer and key: two batches lock in one
-- order. $1 consumers, $2 keys, $3 fingerprints, $4 versions, $5 messages, $6 whether a plugin judges: six arrays side by side.
select d.decision, d.token, d.attempt, d.lease_ms, d.retry_after_ms, d.result, d.reason,
       (d.seen).state, (d.seen).revision, (d.seen).attempts, (d.seen).message_id, (d.seen).fingerprint, (d.seen).version,
       (extract(epoch from (d.seen).changed_at) * 1000)::bigint
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::uuid[], $6::boolean[]) with ordinality
  as a (consumer, key, fingerprint, version, message, is_judged, n)
cross join lateral avouch.inbox_begin(a.consumer, a.key, a.fingerprint, a.version, a.message, null, a.is_judged) d
order by a.n
