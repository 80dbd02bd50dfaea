-- Deletes applied receipts from their queue. $1 their ids.
delete from avouch.receipt q where q.id = any ($1::bigint[])
