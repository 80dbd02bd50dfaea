-- These shards' messages that were lost are ready again, up to this loss. Fenced.
-- $1 shards and $2 epochs side by side; $3 the loss, $4 how many messages.
with done as (
  update avouch.shard s set requeued = $3
  from unnest($1::int[], $2::bigint[]) as mine (shard, epoch)
  where s.shard = mine.shard and s.epoch = mine.epoch and s.requeued < $3
)
update avouch.loss l set requeued = l.requeued + $4 where l.id = $3
