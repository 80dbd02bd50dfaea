-- Messages whose time has not come, soonest first: at most 30000 are looked at, and no more than it takes. Returns their ids, and where to
-- go on. $1 and $2 behind this time, in microseconds since 1970, and id; $3 topic or null, $4 and $5 bounds of id, $6 most rows.
with behind as materialized (
  select timestamptz 'epoch' + $1::bigint * interval '1 microsecond' as at
), found as materialized (
  select l.id, l.not_before
  from (
    -- In the order that is wanted, so that it ends with the last one that is.
    select o.id, o.topic, o.not_before from avouch.outbox o
    where o.state = 'ready' and o.not_before is not null and (o.not_before, o.id) > ((select b.at from behind b), $2::uuid)
    order by o.not_before, o.id
    limit 30000
  ) l
  where ($3::text is null or l.topic = $3 or right($3, 2) = '.>' and starts_with(l.topic, left($3, -1))) and l.id >= $4 and l.id < $5
  order by l.not_before, l.id
  limit $6::bigint
)
select array(select f.id from found f order by f.not_before, f.id),
       (
         select (extract(epoch from e.not_before) * 1000000)::bigint || '.' || e.id
         from (
           (select f.not_before, f.id from found f where (select count(*) from found) = $6 order by f.not_before desc, f.id desc limit 1)
           union all
           (select o.not_before, o.id from avouch.outbox o
            where (select count(*) from found) < $6
              and o.state = 'ready' and o.not_before is not null and (o.not_before, o.id) > ((select b.at from behind b), $2)
            order by o.not_before, o.id
            offset 29999 limit 1)
         ) e
       )
