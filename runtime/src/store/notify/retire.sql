-- Deletes what ended long ago, with its tries, and messages that nobody is told of any more. Returns how many deliveries. $1 hours, $2 most rows.
with old as materialized (
  select d.endpoint, d.message_id from avouch.delivery d
  where d.state <> 'waiting' and d.ended_at < (select clock_timestamp() - $1::int * interval '1 hour')
  order by d.ended_at
  limit $2
), deleted as (
  delete from avouch.delivery d using old
  where d.endpoint = old.endpoint and d.message_id = old.message_id and d.state is distinct from 'waiting'
  returning d.endpoint, d.message_id
), tries as (
  delete from avouch.attempt a using deleted where a.message_id = deleted.message_id and a.endpoint = deleted.endpoint
), notices as (
  delete from avouch.notice n
  where n.message_id = any (array(select deleted.message_id from deleted))
    and not exists (
      select from avouch.delivery d
      where d.message_id = n.message_id
        and not exists (select from deleted x where x.endpoint = d.endpoint and x.message_id = d.message_id))
)
select count(*) from deleted
