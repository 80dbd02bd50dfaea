-- ready → ready, generation + 1: the broker claimed a duplicate that it does not hold. Fenced like mark_sent.
-- $1 shard, $2 epoch, $3 seq, $4 the generation that was sent, $5 id: after a failover another row may have
-- the seq.
with fence as materialized (
  select s.shard from avouch.shard s where s.shard = $1 and s.epoch = $2 for share
)
update avouch.outbox o set generation = generation + 1
where o.shard = $1 and o.seq = $3 and o.id = $5 and o.state = 'ready' and o.not_before is null
  and o.generation = $4 and exists (select from fence)
