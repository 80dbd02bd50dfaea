-- Receipts by message, oldest first, and whether they can be applied: its mark may be on its way. $1 most rows, $2 after this one.
select q.id, q.message_id, q.consumer, q.dead, o.is_sent is not null and o.is_sent,
       q.created_at < clock_timestamp() - interval '10 minutes'
from avouch.receipt q
left join lateral (select x.state <> 'ready' as is_sent from avouch.outbox x where x.id = q.message_id limit 1) o on true
where q.id > $2
order by q.id
limit $1
