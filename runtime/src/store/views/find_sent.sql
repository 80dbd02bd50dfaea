-- Messages from an id on that were sent, oldest first: at most 30000 are looked at, and no more than it takes. Returns their ids, and where to go on.
-- $1 from this id, $2 below this id, $3 topic or null, $4 sent by then, $5 most rows.
with found as materialized (
  select l.id
  from (
    -- In the order that is wanted, so that it ends with the last one that is.
    select o.id, o.topic, o.state, o.sent_at from avouch.outbox o where o.id >= $1 and o.id < $2 order by o.id limit 30000
  ) l
  where ($3::text is null or l.topic = $3 or right($3, 2) = '.>' and starts_with(l.topic, left($3, -1)))
    and l.state in ('sent', 'consumed') and l.sent_at <= $4::timestamptz
  order by l.id
  limit $5::bigint
)
select array(select f.id from found f order by f.id),
       case when (select count(*) from found) = $5 then (select f.id from found f order by f.id desc limit 1)
            else (select o.id from avouch.outbox o where o.id >= $1 and o.id < $2 order by o.id offset 29999 limit 1) end
