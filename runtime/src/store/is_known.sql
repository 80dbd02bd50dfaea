-- Whether this message is here. $1 id.
select exists (select from avouch.outbox where id = $1)
