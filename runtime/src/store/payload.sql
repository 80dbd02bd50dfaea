-- A payload that was too large to be read with the others.
-- $1 id.
select payload, payload_bytes from avouch.outbox where id = $1
