-- What was lost and is not ready again yet, in these shards, the oldest first. $1 shards.
select l.id, l.stream, s.name, l.above, l.successor, array_agg(h.shard order by h.shard)
from avouch.loss l
join avouch.stream s on s.id = l.stream
join avouch.shard h on h.requeued < l.id
where h.shard = any ($1::int[])
group by l.id, s.id
order by l.id
