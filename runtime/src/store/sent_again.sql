-- pending -> sent, after the PubAcks: guarded by the generation that was sent. What nobody waits for is over with that.
-- $1 messages, $2 consumers, $3 generations, $4 streams, $5 sequences: five arrays side by side.
with told as materialized (
  select t.*, coalesce(t.consumer = any (o.awaiting), false) as is_awaited
  from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::bigint[]) as t (id, consumer, generation, stream, stream_seq)
  join avouch.outbox o on o.id = t.id
), over as (
  delete from avouch.recovery r using told t
  where r.message_id = t.id and r.consumer = t.consumer and r.state = 'pending' and r.generation = t.generation and not t.is_awaited
)
update avouch.recovery r
set state = 'sent', stream = t.stream, stream_seq = t.stream_seq, changed_at = clock_timestamp()
from told t
where r.message_id = t.id and r.consumer = t.consumer and r.state = 'pending' and r.generation = t.generation and t.is_awaited
