-- Messages that may be sent after a seq, oldest first: 2000 of each shard are looked at. Returns their ids, and where to go on.
-- $1 after this seq, $2 topic or null, $3 and $4 bounds of id, $5 most rows.
with looked as materialized (
  select q.id, q.seq, q.topic, s.shard
  from avouch.shard s
  cross join lateral (
    select o.id, o.seq, o.topic from avouch.outbox o
    where o.shard = s.shard and o.state = 'ready' and o.not_before is null and o.seq > $1
    order by o.seq
    limit 2000
  ) q
), ends as materialized (
  -- Behind this, a shard may have more that was not looked at.
  select min(e.last) as seq from (select max(l.seq) as last from looked l group by l.shard having count(*) = 2000) e
), found as materialized (
  select l.id, l.seq from looked l cross join ends
  where (ends.seq is null or l.seq <= ends.seq) and l.id >= $3 and l.id < $4
    and ($2::text is null or l.topic = $2 or right($2, 2) = '.>' and starts_with(l.topic, left($2, -1)))
  order by l.seq
  limit $5::bigint
)
select array(select f.id from found f order by f.seq),
       case when (select count(*) from found) = $5 then (select max(f.seq) from found f) else (select ends.seq from ends) end::text
