-- Takes shards whose owner is gone. The higher epoch fences whatever the former owner still marks.
-- $1 id, $2 most shards.
update avouch.shard s set owner = $1, epoch = epoch + 1
where s.shard in (
  select free.shard
  from avouch.shard free
  where not exists (
    select from avouch.instance i where i.id = free.owner and i.lease_until > clock_timestamp()
  )
  order by free.shard
  limit $2
  for update of free skip locked
)
