-- Nobody waits for this consumer below this place any more: a bounded part of the stream. Returns how many, and the last place.
-- $1 consumer, $2 incarnation, $3 above this sequence, $4 up to this one, $5 most rows.
with found as materialized (
  select o.ctid, o.stream_seq
  from avouch.outbox o
  where o.stream = $2 and o.stream_seq > $3 and o.stream_seq <= $4 and o.awaiting is not null and $1 = any (o.awaiting)
  order by o.stream_seq
  limit $5
), released as (
  update avouch.outbox o
  set awaiting = nullif(array_remove(o.awaiting, $1), '{}'),
      state = case
        when o.awaiting = array[$1] then 'consumed'
        when o.state = 'dead' and not exists (
          select from avouch.recovery r where r.message_id = o.id and r.state is not distinct from 'dead' and r.consumer <> $1
        ) then 'sent'
        else o.state
      end,
      reason = case when o.awaiting = array[$1] then null else o.reason end
  from found f
  where o.ctid = f.ctid and o.state in ('sent', 'dead') and $1 = any (o.awaiting)
  returning o.id
), forgotten as (
  delete from avouch.recovery r using released where r.message_id = released.id and r.consumer = $1
)
select (select count(*) from released), coalesce((select max(stream_seq) from found), $4)
