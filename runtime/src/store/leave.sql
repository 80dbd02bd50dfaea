-- Ends this instance: its shards are free at once, and whoever wants them is woken.
-- $1 id.
with freed as (
  update avouch.shard set owner = null, epoch = epoch + 1 where owner = $1
  returning pg_notify('avouch_doorbell', 'shards')
)
delete from avouch.instance where id = $1 or lease_until < clock_timestamp() - interval '1 day'
