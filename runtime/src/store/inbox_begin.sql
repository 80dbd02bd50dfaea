-- May they act? One answer a question, in the order of the questions, which come by consumer and key: two batches lock in one
-- order. $1 consumers, $2 keys, $3 fingerprints, $4 versions, $5 messages: five arrays side by side.
select d.decision, d.token, d.attempt, d.lease_ms, d.retry_after_ms, d.result, d.reason
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::uuid[]) with ordinality
  as a (consumer, key, fingerprint, version, message, n)
cross join lateral avouch.inbox_begin(a.consumer, a.key, a.fingerprint, a.version, a.message) d
order by a.n
