-- prepared -> in_doubt: asked often enough; a person decides, or the producer.
-- Returns those that were still this instance's to park. $1 ids, $2 check_at of the claims, $3 reasons, $4 which version answered: side
-- by side.
update avouch.tx t
set state = 'in_doubt', verdict = said.reason, reason = said.reason, alarmed_at = null, checked_by = coalesce(said.plugin, t.checked_by)
from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[]) as said (id, claimed_at, reason, plugin)
where t.id = said.id and t.state is not distinct from 'prepared' and t.check_at = said.claimed_at
returning t.id
