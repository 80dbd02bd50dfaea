-- What is to be sent again, oldest first: each gets the message's next generation, the first time it is claimed.
-- $1 most rows.
with due as materialized (
  select r.message_id, r.consumer
  from avouch.recovery r
  join avouch.consumer c on c.id = r.consumer
  where r.state = 'pending' and c.stream is not null
  order by r.changed_at
  limit $1
  for update of r skip locked
), raised as (
  update avouch.outbox o set generation = o.generation + n.raises
  from (
    select r.message_id, count(*)::int as raises
    from due join avouch.recovery r using (message_id, consumer)
    where r.generation = 0 or r.stream is not null
    group by r.message_id
  ) n
  where o.id = n.message_id
  returning o.id, o.generation, n.raises
), numbered as (
  update avouch.recovery r set generation = given.generation, stream = null, stream_seq = null
  from (
    select due.message_id, due.consumer,
           raised.generation - raised.raises + row_number() over (partition by due.message_id order by due.consumer)::int as generation
    from due join avouch.recovery q using (message_id, consumer) join raised on raised.id = due.message_id
    where q.generation = 0 or q.stream is not null
  ) given
  where r.message_id = given.message_id and r.consumer = given.consumer
  returning r.message_id, r.consumer, r.generation
)
select o.id, r.consumer, c.name, c.stream, coalesce(n.generation, r.generation), o.created_at, o.topic, o.key, o.payload, o.payload_bytes,
       o.headers::text, o.tx_id
from due
join avouch.recovery r using (message_id, consumer)
join avouch.outbox o on o.id = r.message_id
join avouch.consumer c on c.id = r.consumer
left join numbered n on n.message_id = r.message_id and n.consumer = r.consumer
