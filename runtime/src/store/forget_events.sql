-- Deletes what happened longer ago than it is kept, oldest first. $1 hours, $2 most rows.
delete from avouch.event e
where e.id = any (array(
  select o.id from (select q.id, q.at from avouch.event q order by q.id limit $2) o where o.at < now() - $1::bigint * interval '1 hour'
))
