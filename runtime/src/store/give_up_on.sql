-- sent -> dead: this consumer will not finish these messages. Guarded by its still being waited for, and by the state of its recovery,
-- if there is one. Returns what is dead now, with its traceparent for the log. $1 messages, none twice, and $3 reasons side by side; $2 the consumer, $4 that state: sent,
-- or pending if it could not be sent again.
with dead as (
  update avouch.outbox o
  set state = 'dead', reason = (select c.name from avouch.consumer c where c.id = $2::int) || ': ' || ($3::text[])[array_position($1, o.id)]
  where o.id = any ($1::uuid[]) and coalesce($2 = any (o.awaiting), false) and o.state in ('sent', 'dead')
    and not exists (
      select from avouch.recovery r where r.message_id = o.id and r.consumer = $2 and r.state is distinct from $4::text
    )
  returning o.id, o.topic, ($3::text[])[array_position($1, o.id)] as reason,
    (select h.value from jsonb_each_text(o.headers) h where lower(h.key) = 'traceparent' limit 1) as traceparent
), noted as (
  insert into avouch.recovery as r (message_id, consumer, state, reason)
  select dead.id, $2, 'dead', dead.reason from dead
  on conflict on constraint recovery_pkey do update
  set state = 'dead', reason = excluded.reason, told = false, changed_at = clock_timestamp() where r.state = $4
)
select dead.id, (select c.name from avouch.consumer c where c.id = $2), dead.topic, dead.reason, dead.traceparent from dead
