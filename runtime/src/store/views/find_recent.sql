-- Messages before an id, newest first: at most 30000 are looked at, and no more than it takes. Returns their ids, and where to go on.
-- $1 before this id, $2 not below this id, $3 topic or null, $4 state or null, $5 most rows.
with found as materialized (
  select l.id
  from (
    -- In the order that is wanted, so that it ends with the last one that is.
    select o.id, o.topic, o.state from avouch.outbox o where o.id < $1 and o.id >= $2 order by o.id desc limit 30000
  ) l
  where ($3::text is null or l.topic = $3 or right($3, 2) = '.>' and starts_with(l.topic, left($3, -1))) and ($4::text is null or l.state = $4)
  order by l.id desc
  limit $5::bigint
)
select array(select f.id from found f order by f.id desc),
       case when (select count(*) from found) = $5 then (select f.id from found f order by f.id limit 1)
            else (select o.id from avouch.outbox o where o.id < $1 and o.id >= $2 order by o.id desc offset 29999 limit 1) end::text
