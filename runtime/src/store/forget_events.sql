-- Deletes what happened longer ago than it is kept, oldest first, but nothing about what is still there: its history would be a guess.
-- Returns after which event the next look goes on: 0, from the first one, when this one has come to what is young.
-- $1 hours, $2 most rows looked at, $3 after this event.
with old as materialized (
  select l.id, l.subject
  from (select q.id, q.subject, q.at from avouch.event q where q.id > $3 order by q.id limit $2) l
  where l.at < now() - $1::bigint * interval '1 hour'
), gone as (
  delete from avouch.event e
  where e.id = any (array(
    select o.id from old o
    where not exists (select from avouch.outbox m where m.id = o.subject) and not exists (select from avouch.tx t where t.id = o.subject)
  ))
)
select case when (select count(*) from old) = $2 then (select max(o.id) from old o) else 0 end
