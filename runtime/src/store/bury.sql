-- ready → dead, with its reason; parks the key if the topic says so. Fenced like mark_sent.
-- $1 shard, $2 epoch, $3 seq, $4 reason, $5 whether the key is parked, $6 id: after a failover another row may have the seq.
with fence as materialized (
  select s.shard from avouch.shard s where s.shard = $1 and s.epoch = $2 for share
), dead as (
  update avouch.outbox o set state = 'dead', reason = $4
  where o.shard = $1 and o.seq = $3 and o.id = $6 and o.state = 'ready' and o.not_before is null and exists (select from fence)
  returning o.id, o.key
), noted as (
  insert into avouch.recovery as r (message_id, consumer, state, reason)
  select dead.id, 0, 'dead', $4 from dead
  on conflict on constraint recovery_pkey do update
  set state = 'dead', reason = excluded.reason, told = false, changed_at = clock_timestamp()
), parked as (
  insert into avouch.hold (kind, name, message_id, reason)
  select 'key', dead.key, dead.id, $4 from dead where $5 and dead.key is not null
  returning 1
)
select count(*) from dead
