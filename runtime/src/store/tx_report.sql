-- The producer's word on a transaction. Returns the state it is in now, its checker and ref; the state is null if there is none.
-- $1 id, $2 commit or rollback, $3 reason.
select said.state, t.checker, t.ref
from avouch.report($1::uuid, $2::text, $3::text) as said (state) left join avouch.tx t on t.id = $1::uuid
