-- Answers that do not decide: ask again later. Nothing happens where somebody else has claimed or settled meanwhile.
-- $1 ids, $2 check_at of the claims, $3 ms until the next question, $4 1 for an unknown, else 0, $5 what was said, $6 which version said it: side by side.
update avouch.tx t
set check_at = clock_timestamp() + said.wait_ms * interval '1 ms', unknowns = t.unknowns + said.unknown, verdict = said.verdict,
    checked_by = coalesce(said.plugin, t.checked_by)
from unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::int[], $5::text[], $6::text[]) as said (id, claimed_at, wait_ms, unknown, verdict, plugin)
where t.id = said.id and t.state is not distinct from 'prepared' and t.check_at = said.claimed_at
