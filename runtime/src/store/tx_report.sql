-- The producer's word on a transaction. Returns the state it is in now; null if there is none. $1 id, $2 commit or rollback, $3 reason.
select avouch.report($1::uuid, $2::text, $3::text)
