-- What was sent again to one consumer and is not finished, as look_awaited.sql shows it.
-- $1 the consumer, $2 the stream's incarnation, $3 above this sequence, $4 up to this one, $5 most rows.
select r.message_id, r.stream_seq, (extract(epoch from clock_timestamp() - r.changed_at) * 1000)::bigint, i.state, i.reason,
       'again', r.tries, o.topic
from avouch.recovery r
cross join lateral (select q.topic from avouch.outbox q where q.id = r.message_id limit 1) o
left join lateral (
  select q.state, q.reason from avouch.inbox q where q.consumer = $1 and q.key = r.message_id::text limit 1
) i on true
where r.consumer = $1 and r.state = 'sent' and r.stream = $2 and r.stream_seq > $3 and r.stream_seq <= $4
order by r.stream_seq
limit $5
