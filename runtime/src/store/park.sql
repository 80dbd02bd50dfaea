-- prepared -> in_doubt: asked often enough; a person decides, or the producer.
-- Returns those that were still this instance's to park. $1 ids, $2 check_at of the claims, $3 reasons: side by side.
update avouch.tx t
set state = 'in_doubt', verdict = said.reason, reason = said.reason, alarmed_at = null
from unnest($1::uuid[], $2::timestamptz[], $3::text[]) as said (id, claimed_at, reason)
where t.id = said.id and t.state is not distinct from 'prepared' and t.check_at = said.claimed_at
returning t.id
