-- What was sent again to one consumer and is not finished, as look_awaited.sql shows it.
-- $1 the consumer, $2 the stream's incarnation, $3 above this sequence, $4 up to this one, $5 most rows.
select r.message_id, r.stream_seq, (extract(epoch from clock_timestamp() - r.changed_at) * 1000)::bigint, i.state, i.reason,
       'again', r.tries, o.topic
from avouch.recovery r
join avouch.outbox o on o.id = r.message_id
left join avouch.inbox i on i.consumer = $1 and i.key = o.id::text
where r.consumer = $1 and r.state = 'sent' and r.stream = $2 and r.stream_seq > $3 and r.stream_seq <= $4
order by r.stream_seq
limit $5
