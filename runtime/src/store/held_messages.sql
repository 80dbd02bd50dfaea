-- The first messages that transactions hold, in the order of their insert.
-- $1 transactions, $2 most messages of each, $3 most bytes of a payload.
select o.tx_id, o.id, o.topic, o.key,
       case when octet_length(o.payload) <= $3::int then o.payload end,
       case when octet_length(o.payload_bytes) <= $3::int then o.payload_bytes end,
       coalesce(octet_length(o.payload), octet_length(o.payload_bytes)) as bytes, o.headers::text,
       (extract(epoch from o.created_at) * 1000)::bigint as created_at_ms, o.generation
from unnest($1::uuid[]) as tx (id)
cross join lateral (
  select * from avouch.outbox q where q.tx_id = tx.id and q.state = 'prepared' order by q.seq limit $2::int
) o
