-- Gives shards back, after their last mark, and wakes whoever wants them.
-- $1 id, $2 shards.
update avouch.shard set owner = null, epoch = epoch + 1 where owner = $1 and shard = any ($2::int[])
returning pg_notify('avouch_doorbell', 'shards')
