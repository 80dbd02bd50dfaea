-- Receipts: these consumers have finished these messages. Whoever was the last one waited for makes it consumed, dead or not.
-- $1 messages, $2 consumers: two arrays side by side.
with told as materialized (
  select id, array_agg(consumer) as consumers from unnest($1::uuid[], $2::int[]) as t (id, consumer) group by id
), lazy as materialized (
  -- Evidence that is lost in a crash of the server is found again by looking.
  select set_config('synchronous_commit', 'off', true) as setting
), lifted as (
  delete from avouch.recovery r using told t where r.message_id = t.id and r.consumer = any (t.consumers)
)
update avouch.outbox o
set awaiting = case when not o.awaiting <@ t.consumers then array(select unnest(o.awaiting) except select unnest(t.consumers)) end,
    state = case
      when o.awaiting <@ t.consumers then 'consumed'
      when o.state = 'dead' and not exists (
        select from avouch.recovery r where r.message_id = o.id and r.state = 'dead' and r.consumer <> all (t.consumers)
      ) then 'sent'
      else o.state
    end,
    reason = case when o.awaiting <@ t.consumers then null else o.reason end
from told t
where o.id = t.id and o.awaiting && t.consumers and o.state in ('sent', 'dead') and (select lazy.setting from lazy) is not null
