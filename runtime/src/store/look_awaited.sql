-- What one consumer has not finished, in the order of the stream, with what is known of it.
-- $1 the consumer, $2 the stream's incarnation, $3 above this sequence, $4 up to this one, $5 most rows.
select o.id, o.stream_seq, (extract(epoch from clock_timestamp() - o.sent_at) * 1000)::bigint, i.state, i.reason, r.state, r.tries,
       o.topic
from avouch.outbox o
left join lateral (
  select q.state, q.reason from avouch.inbox q where q.consumer = $1 and q.key = o.id::text limit 1
) i on true
left join lateral (
  select q.state, q.tries from avouch.recovery q where q.message_id = o.id and q.consumer = $1 limit 1
) r on true
where o.stream = $2 and o.stream_seq > $3 and o.stream_seq <= $4 and o.awaiting is not null and $1 = any (o.awaiting)
order by o.stream_seq
limit $5
