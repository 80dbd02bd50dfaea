-- Runs what a plugin has judged, where the record is still what it saw. One answer a claim, in the order of the claims, which
-- come by consumer and key. $1 consumers, $2 keys, $3 revisions that are expected, $4 fingerprints, $5 versions, $6 messages: six
-- arrays side by side.
select d.decision, d.token, d.attempt, d.lease_ms
from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bigint[], $6::uuid[]) with ordinality
  as a (consumer, key, expected, fingerprint, version, message, n)
cross join lateral avouch.inbox_claim(a.consumer, a.key, a.expected, a.fingerprint, a.version, a.message) d
order by a.n
