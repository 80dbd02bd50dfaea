-- Which message a place in the stream is, if a consumer waits for it: (n, id).
-- $1 incarnations of streams, $2 sequences, $3 consumers: three arrays side by side.
select t.n, coalesce(o.id, r.message_id)
from unnest($1::int[], $2::bigint[], $3::int[]) with ordinality as t (stream, stream_seq, consumer, n)
left join lateral (
  select q.id from avouch.outbox q
  where q.stream = t.stream and q.stream_seq = t.stream_seq and q.awaiting is not null
  limit 1
) o on true
left join lateral (
  select q.message_id from avouch.recovery q
  where o.id is null and q.consumer = t.consumer and q.state = 'sent' and q.stream = t.stream and q.stream_seq = t.stream_seq
  limit 1
) r on true
where o.id is not null or r.message_id is not null
