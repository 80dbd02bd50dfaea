-- sent -> to be sent again, to this consumer alone. Guarded by its still being waited for, and by the place at which the message was
-- missed: what was sent again meanwhile is left alone.
-- $1 messages, none twice, and $5 their sequences side by side; $2 the consumer, $3 the reason, $4 whether it counts as a try.
insert into avouch.recovery as r (message_id, consumer, state, reason, tries)
select o.id, $2::int, 'pending', $3::text, $4::boolean::int
from avouch.outbox o
where o.id = any ($1::uuid[]) and coalesce($2 = any (o.awaiting), false) and o.state in ('sent', 'dead')
on conflict on constraint recovery_pkey do update
set state = 'pending', reason = excluded.reason, tries = r.tries + excluded.tries, changed_at = clock_timestamp()
where r.state = 'sent' and r.stream_seq = ($5::bigint[])[array_position($1, r.message_id)]
