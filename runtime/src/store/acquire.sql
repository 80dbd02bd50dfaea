-- Takes shards whose owner is gone. The higher epoch fences whatever the former owner still marks. The lock on the former owner's
-- row makes a renewal of its lease that comes at the same time wait, and then see that its shards are lost; a renewal under way keeps them.
-- $1 id, $2 most shards.
with gone as materialized (
  select i.id from avouch.instance i where i.lease_until <= clock_timestamp() for update skip locked
)
update avouch.shard s set owner = $1, epoch = epoch + 1
where s.shard in (
  select free.shard
  from avouch.shard free
  where free.owner is null or free.owner in (select gone.id from gone)
    or not exists (select from avouch.instance i where i.id = free.owner)
  order by free.shard
  limit $2
  for update of free skip locked
)
