-- sent -> dead: these consumers will not finish these messages. Guarded by their still being waited for; those that are dead already
-- stay as they are. Returns what is dead now. $1 messages, $2 consumers, $3 reasons: three arrays side by side.
with told as materialized (
  select distinct on (t.id, t.consumer) t.id, t.consumer, t.reason, c.name
  from unnest($1::uuid[], $2::int[], $3::text[]) as t (id, consumer, reason)
  join avouch.consumer c on c.id = t.consumer
), dead as (
  update avouch.outbox o set state = 'dead', reason = t.name || ': ' || t.reason
  from told t
  where o.id = t.id and t.consumer = any (o.awaiting) and o.state in ('sent', 'dead')
    and not exists (select from avouch.recovery r where r.message_id = t.id and r.consumer = t.consumer and r.state in ('dead', 'pending'))
  returning o.id, o.topic, o.key
), noted as (
  insert into avouch.recovery as r (message_id, consumer, state, reason)
  select t.id, t.consumer, 'dead', t.reason from told t join dead on dead.id = t.id
  on conflict on constraint recovery_pkey do update
  set state = 'dead', reason = excluded.reason, changed_at = clock_timestamp() where r.state = 'sent'
)
select dead.id, t.name, dead.topic, t.reason from dead join told t on t.id = dead.id
