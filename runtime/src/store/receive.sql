-- Receipts: this consumer has finished these messages. Whoever was the last one waited for makes a message consumed, dead or not.
-- (Ids come as an array, not as a joined table: a plan that was made while the outbox was empty would walk all of it for each of
-- them. For the same reason awaiting stands inside coalesce, so that its partial index is no choice.)
-- $1 messages, $2 the consumer.
with lazy as materialized (
  -- Evidence that is lost in a crash of the server is found again by looking.
  select set_config('synchronous_commit', 'off', true) as setting
), lifted as (
  delete from avouch.recovery r where r.message_id = any ($1::uuid[]) and r.consumer = $2::int
)
update avouch.outbox o
set awaiting = nullif(array_remove(o.awaiting, $2), '{}'),
    received_by = o.received_by || $2::int, received_at = o.received_at || clock_timestamp(),
    state = case
      when o.awaiting <@ array[$2] then 'consumed'
      when o.state = 'dead' and not exists (
        select from avouch.recovery r where r.message_id = o.id and r.state is not distinct from 'dead' and r.consumer <> $2
      ) then 'sent'
      else o.state
    end,
    reason = case when o.awaiting <@ array[$2] then null else o.reason end
where o.id = any ($1::uuid[]) and coalesce($2 = any (o.awaiting), false) and o.state in ('sent', 'dead')
  and (select lazy.setting from lazy) is not null
