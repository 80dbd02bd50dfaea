-- A checker's verdicts. Returns the transactions that were still undecided.
-- $1 ids, $3 reasons and $4 the versions that answered, side by side; $2 commit or rollback.
select avouch.settle($1::uuid[], $2::text, 'checker', $3::text[], $4::text[])
