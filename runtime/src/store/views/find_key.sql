-- Messages with a key before an id, newest first. What is ready stands in its shard, what is delayed by its time: of each, the first 30000
-- are looked at. Returns their ids, and where to go on.
-- $1 key, $2 before this id, $3 not below this id, $4 topic or null, $5 state or null, $6 consumer or null, $7 most rows.
with looked as materialized (
  (
    select o.id, o.topic, o.state, o.awaiting
    from avouch.outbox o
    where hashtext(o.key) = hashtext($1::text) and o.key is not null and o.state <> 'ready' and o.id < $2 and o.id >= $3 and o.key = $1
    order by o.id desc
    limit 30000
  )
  union all
  select r.id, r.topic, r.state, r.awaiting
  from (
    select o.* from avouch.outbox o
    where o.shard = avouch.shard_of($1, '00000000-0000-0000-0000-000000000000') and o.state = 'ready' and o.not_before is null
    order by o.seq desc
    limit 30000
  ) r
  where r.key = $1 and r.id < $2 and r.id >= $3
  union all
  select d.id, d.topic, 'delayed', d.awaiting
  from (
    select o.* from avouch.outbox o where o.state = 'ready' and o.not_before is not null order by o.not_before limit 30000
  ) d
  where d.key = $1 and d.id < $2 and d.id >= $3
), found as materialized (
  select l.id from looked l
  where ($4::text is null or l.topic = $4 or right($4, 2) = '.>' and starts_with(l.topic, left($4, -1))) and ($5::text is null or l.state = $5 or $5 = 'ready' and l.state = 'delayed')
    and ($6::text is null or (select c.id from avouch.consumer c where c.name = $6) = any (l.awaiting))
  order by l.id desc
  limit $7::bigint
)
select array(select f.id from found f order by f.id desc),
       case when (select count(*) from found) = $7 then (select f.id from found f order by f.id limit 1)
            when (select count(*) from looked) >= 30000 then (select l.id from looked l order by l.id limit 1) end::text
