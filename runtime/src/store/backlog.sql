-- What waits, by state and topic, and what awaits receipts by consumer: how many, and for how many seconds the oldest has. Only the
-- oldest of each state are looked at, by the indexes of what has not ended: it costs the same whatever is retained, and however much
-- waits. Of what is ready, each shard has its part of the look, because the index begins with the shard.
-- $1 most rows of a state.
with ready as materialized (
  select o.topic, o.since
  from avouch.shard s
  cross join lateral (
    select q.topic, coalesce(q.released_at, q.created_at) as since
    from avouch.outbox q
    where q.shard = s.shard and q.state = 'ready' and q.not_before is null
    order by q.seq
    limit greatest(1, $1::bigint / (select count(*) from avouch.shard))
  ) o
), delayed as materialized (
  select o.topic, o.not_before as since
  from avouch.outbox o
  where o.state = 'ready' and o.not_before is not null
  order by o.not_before
  limit $1
), prepared as materialized (
  select o.topic, o.created_at as since from avouch.outbox o where o.state = 'prepared' order by o.tx_id, o.seq limit $1
), awaiting as materialized (
  select o.topic, o.sent_at as since, o.awaiting
  from avouch.outbox o
  where o.awaiting is not null
  order by o.stream, o.stream_seq
  limit $1
), dead as materialized (
  select o.topic, o.created_at as since from avouch.outbox o where o.state = 'dead' order by o.seq limit $1
), seen as (
  select 'ready' as state, topic as name, since from ready
  union all
  select 'delayed', topic, since from delayed
  union all
  select 'prepared', topic, since from prepared
  union all
  select 'awaiting', topic, since from awaiting
  union all
  select 'dead', topic, since from dead
  union all
  select 'receipt', c.name, a.since from awaiting a cross join unnest(a.awaiting) as w (consumer) join avouch.consumer c on c.id = w.consumer
)
select seen.state, seen.name, count(*), coalesce(greatest(extract(epoch from clock_timestamp() - min(seen.since)), 0), 0)::float8
from seen
group by seen.state, seen.name
union all
select 'tx_prepared', null, (select count(*) from (select from avouch.tx t where t.state = 'prepared' limit $1) x), 0
union all
select 'tx_in_doubt', null, (select count(*) from (select from avouch.tx t where t.state = 'in_doubt' limit $1) x), 0
