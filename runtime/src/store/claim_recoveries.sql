-- What is to be sent again, oldest first: each gets the message's next generation, the first time it is claimed.
-- A compensation, which is there because its transaction was rolled back, comes without it. $1 most rows.
with due as materialized (
  select r.message_id, r.consumer, r.generation, r.stream, c.name, c.stream as goes_to
  from avouch.recovery r
  join avouch.consumer c on c.id = r.consumer
  where r.state = 'pending' and c.stream is not null
  order by r.changed_at
  limit $1
  for update of r skip locked
), new as materialized (
  select d.message_id, d.consumer, row_number() over (partition by d.message_id order by d.consumer)::int as nth
  from due d where d.generation = 0 or d.stream is not null
), raised as (
  update avouch.outbox o
  set generation = o.generation + (select count(*)::int from new n where n.message_id = o.id)
  where o.id = any (array(select n.message_id from new n))
  returning o.id, o.generation - (select count(*)::int from new n where n.message_id = o.id) as before
), numbered as (
  update avouch.recovery r
  set generation = (select raised.before from raised where raised.id = r.message_id)
        + (select n.nth from new n where n.message_id = r.message_id and n.consumer = r.consumer),
      stream = null, stream_seq = null
  where r.message_id = any (array(select n.message_id from new n)) and r.state is not distinct from 'pending'
    and exists (select from new n where n.message_id = r.message_id and n.consumer = r.consumer)
    and exists (select from raised where raised.id = r.message_id)
  returning r.message_id, r.consumer, r.generation
), sendable as materialized (
  select d.*, coalesce(
    (select n.generation from numbered n where n.message_id = d.message_id and n.consumer = d.consumer),
    case when d.generation > 0 and d.stream is null then d.generation end
  ) as sent_as
  from due d
)
select o.id, s.consumer, s.name, s.goes_to, s.sent_as, o.created_at, o.topic, o.key, o.payload, o.payload_bytes, o.headers,
       case when o.release_on is distinct from 'rollback' then o.tx_id end
from sendable s
cross join lateral (
  select q.id, q.created_at, q.topic, q.key, q.payload, q.payload_bytes, q.headers::text, q.tx_id,
         q.release_on
  from avouch.outbox q where q.id = s.message_id limit 1
) o
where s.sent_as is not null
