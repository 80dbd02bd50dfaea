-- sent -> to be sent again, to these consumers alone. Guarded by their still being waited for, and by the place at which the message
-- was missed: what was sent again meanwhile is left alone.
-- $1 messages, $2 consumers, $3 reasons, $4 whether it counts as a try, $5 the sequence: five arrays side by side.
with told as materialized (
  select distinct on (t.id, t.consumer) t.*
  from unnest($1::uuid[], $2::int[], $3::text[], $4::boolean[], $5::bigint[]) as t (id, consumer, reason, counts, stream_seq)
)
insert into avouch.recovery as r (message_id, consumer, state, reason, tries)
select o.id, t.consumer, 'pending', t.reason, t.counts::int
from told t join avouch.outbox o on o.id = t.id
where t.consumer = any (o.awaiting) and o.state in ('sent', 'dead')
on conflict on constraint recovery_pkey do update
set state = 'pending', reason = excluded.reason, tries = r.tries + excluded.tries, changed_at = clock_timestamp()
where r.state = 'sent' and r.stream_seq in (select t.stream_seq from told t where t.id = r.message_id and t.consumer = r.consumer)
