-- Receipts by message, oldest first, and whether they can be applied: its mark may be on its way. $1 most rows, $2 after this one.
select q.id, q.message_id, q.consumer, q.dead, o.id is not null and o.state <> 'ready',
       q.created_at < clock_timestamp() - interval '10 minutes'
from avouch.receipt q
left join avouch.outbox o on o.id = q.message_id
where q.id > $2
order by q.id
limit $1
