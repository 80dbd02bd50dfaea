-- What cannot be sent again now goes behind the others. $1 messages, $2 consumers.
update avouch.recovery r set changed_at = clock_timestamp()
where r.message_id = any ($1::uuid[]) and r.consumer = any ($2::int[]) and r.state is not distinct from 'pending'
