-- What cannot be sent again now goes behind the others. $1 messages, $2 consumers: two arrays side by side.
update avouch.recovery r set changed_at = clock_timestamp()
from unnest($1::uuid[], $2::int[]) as t (id, consumer)
where r.message_id = t.id and r.consumer = t.consumer and r.state = 'pending'
