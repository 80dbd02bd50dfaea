-- pending -> sent, after the PubAcks: guarded by the generation that was sent. What nobody waits for is over with that.
-- $1 messages, $2 consumers, $3 generations, $4 streams, $5 sequences: five arrays side by side.
with told as materialized (
  select t.id, t.consumer, t.generation, t.stream, t.stream_seq, r.place, coalesce(t.consumer = any (o.awaiting), false) as is_awaited
  from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::bigint[]) as t (id, consumer, generation, stream, stream_seq)
  cross join lateral (
    select q.ctid as place from avouch.recovery q
    where q.message_id = t.id and q.consumer = t.consumer and q.generation = t.generation and q.state is not distinct from 'pending'
    limit 1
  ) r
  cross join lateral (select q.awaiting from avouch.outbox q where q.id = t.id limit 1) o
), over as (
  delete from avouch.recovery r using told t where r.ctid = t.place and not t.is_awaited
  returning t.id, t.consumer, t.generation, t.stream, t.stream_seq, r.reason
), noted as (
  -- As the trigger does for the others.
  insert into avouch.event (subject, what, consumer, detail)
  select o.id, 'sent_again', o.consumer, jsonb_strip_nulls(jsonb_build_object(
    'generation', o.generation, 'reason', o.reason, 'stream', o.stream, 'sequence', o.stream_seq))
  from over o
)
update avouch.recovery r
set state = 'sent', stream = t.stream, stream_seq = t.stream_seq, changed_at = clock_timestamp()
from told t
where r.ctid = t.place and t.is_awaited and r.state is not distinct from 'pending'
