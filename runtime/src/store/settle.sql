-- A checker's verdicts. Returns the transactions that were still undecided.
-- $1 ids and $3 reasons side by side; $2 commit or rollback.
select avouch.settle($1::uuid[], $2::text, 'checker', $3::text[])
