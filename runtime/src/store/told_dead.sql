-- Programs were told of these. $1 messages, $2 consumers.
update avouch.recovery r set told = true
where r.message_id = any ($1::uuid[]) and r.consumer = any ($2::int[]) and r.state is not distinct from 'dead'
