-- Gives shards back, after their last mark.
-- $1 id, $2 shards.
update avouch.shard set owner = null, epoch = epoch + 1 where owner = $1 and shard = any ($2::int[])
