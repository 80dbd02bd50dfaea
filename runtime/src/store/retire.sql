-- Deletes messages that ended longer ago than they are kept, oldest first; their dedup keys end with them. Sent ones for which a
-- consumer is waited have not ended.
-- $1 lower bound of id (nothing older is left), $2 upper bound of id: a UUIDv7 tells its age. $3 most rows.
with old as (
  select id
  from avouch.outbox
  where id >= $1 and id < $2 and state in ('sent', 'consumed', 'cancelled', 'discarded') and awaiting is null
  order by id
  limit $3
), gone as (
  delete from avouch.outbox o using old where o.id = old.id and o.state in ('sent', 'consumed', 'cancelled', 'discarded') and o.awaiting is null
  returning o.id, o.dedup_key
), forgotten as (
  delete from avouch.dedup d using gone where gone.dedup_key is not null and d.message_id = gone.id
), again as (
  delete from avouch.recovery r using gone where r.message_id = gone.id
)
select id from gone order by id desc
