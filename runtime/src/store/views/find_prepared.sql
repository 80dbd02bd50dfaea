-- Messages that transactions hold, newest transactions first: 30000 are looked at. Returns their ids, and where to go on.
-- $1 and $2 before this transaction and seq, $3 topic or null, $4 and $5 bounds of id, $6 most rows.
with looked as materialized (
  select o.id, o.tx_id, o.seq, o.topic from avouch.outbox o
  where o.state = 'prepared' and (o.tx_id, o.seq) < ($1::uuid, $2::bigint)
  order by o.tx_id desc, o.seq desc
  limit 30000
), found as materialized (
  select l.id, l.tx_id, l.seq from looked l
  where l.id >= $4 and l.id < $5 and ($3::text is null or l.topic = $3 or right($3, 2) = '.>' and starts_with(l.topic, left($3, -1)))
  order by l.tx_id desc, l.seq desc
  limit $6::bigint
)
select array(select f.id from found f order by f.tx_id desc, f.seq desc),
       case when (select count(*) from found) = $6 then (select f.tx_id || '.' || f.seq from found f order by f.tx_id, f.seq limit 1)
            when (select count(*) from looked) = 30000 then (select l.tx_id || '.' || l.seq from looked l order by l.tx_id, l.seq limit 1) end
