-- Messages of a transaction, oldest first: what it holds by its index; of what was inserted while it was undecided, 30000 are looked at.
-- $1 transaction, $2 and $3 bounds of id, $4 most rows.
with held as materialized (
  select o.id from avouch.outbox o where o.state = 'prepared' and o.tx_id = $1 order by o.seq limit $4::bigint
), looked as materialized (
  select o.id, o.tx_id from avouch.outbox o where o.id >= $2 and o.id < $3 order by o.id limit 30000
)
select f.id
from (select h.id from held h union select l.id from looked l where l.tx_id = $1) f
order by f.id
limit $4
