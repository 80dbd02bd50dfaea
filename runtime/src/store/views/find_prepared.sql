-- Messages that transactions hold, newest transactions first: at most 30000 are looked at, and no more than it takes. Returns their ids,
-- and where to go on.
-- $1 and $2 before this transaction and seq, $3 topic or null, $4 and $5 bounds of id, $6 most rows.
with found as materialized (
  select l.id, l.tx_id, l.seq
  from (
    -- In the order that is wanted, so that it ends with the last one that is.
    select o.id, o.tx_id, o.seq, o.topic from avouch.outbox o
    where o.state = 'prepared' and (o.tx_id, o.seq) < ($1::uuid, $2::bigint)
    order by o.tx_id desc, o.seq desc
    limit 30000
  ) l
  where l.id >= $4 and l.id < $5 and ($3::text is null or l.topic = $3 or right($3, 2) = '.>' and starts_with(l.topic, left($3, -1)))
  order by l.tx_id desc, l.seq desc
  limit $6::bigint
)
select array(select f.id from found f order by f.tx_id desc, f.seq desc),
       case when (select count(*) from found) = $6 then (select f.tx_id || '.' || f.seq from found f order by f.tx_id, f.seq limit 1)
            else (
              select o.tx_id || '.' || o.seq from avouch.outbox o
              where o.state = 'prepared' and (o.tx_id, o.seq) < ($1, $2)
              order by o.tx_id desc, o.seq desc
              offset 29999 limit 1
            ) end
