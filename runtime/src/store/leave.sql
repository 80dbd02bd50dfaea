-- Ends this instance: its shards are free at once.
-- $1 id.
with freed as (
  update avouch.shard set owner = null, epoch = epoch + 1 where owner = $1 returning 1
)
delete from avouch.instance where id = $1 or lease_until < clock_timestamp() - interval '1 day'
