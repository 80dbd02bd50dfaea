-- Which message a place in the stream is, if a consumer waits for it: (n, id). A place that two messages have, because the broker lost
-- the first and gave it again, is evidence for neither.
-- $1 incarnations of streams, $2 sequences, $3 consumers: three arrays side by side.
select t.n, coalesce(o.ids[1], r.message_id)
from unnest($1::int[], $2::bigint[], $3::int[]) with ordinality as t (stream, stream_seq, consumer, n)
cross join lateral (
  select array_agg(two.id) as ids
  from (
    select q.id from avouch.outbox q
    where q.stream = t.stream and q.stream_seq = t.stream_seq and q.awaiting is not null
    limit 2
  ) two
) o
left join lateral (
  select q.message_id from avouch.recovery q
  where o.ids is null and q.consumer = t.consumer and q.state = 'sent' and q.stream = t.stream and q.stream_seq = t.stream_seq
  limit 1
) r on true
where cardinality(o.ids) = 1 or r.message_id is not null
