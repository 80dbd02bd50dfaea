-- Dead messages before a seq, newest first: at most 20000 are looked at, and no more than it takes. Returns their ids, and where to go on.
-- $1 before this seq, $2 topic, $3 key, $4 consumer (- for never sent), $5 failure, each or null; $6 and $7 bounds of id, $8 most rows.
with found as materialized (
  select l.id, l.seq
  from (
    -- In the order that is wanted, so that it ends with the last one that is.
    select o.id, o.seq, o.topic, o.key, o.reason from avouch.outbox o where o.state = 'dead' and o.seq < $1 order by o.seq desc limit 20000
  ) l
  where ($2::text is null or l.topic = $2 or right($2, 2) = '.>' and starts_with(l.topic, left($2, -1)))
    and ($3::text is null or l.key = $3) and l.id >= $6 and l.id < $7
    and ($4::text is null and $5::text is null or exists (
      select from (select) one
      left join avouch.recovery r on r.message_id = l.id and r.state is not distinct from 'dead'
      left join avouch.consumer c on c.id = r.consumer
      where ($4 is null or coalesce(c.name, '-') = $4)
        and ($5 is null or coalesce(r.reason, l.reason, '') = $5 or avouch.failure_class(coalesce(r.reason, l.reason, '')) = $5)
    ))
  order by l.seq desc
  limit $8::bigint
)
select array(select f.id from found f order by f.seq desc),
       case when (select count(*) from found) = $8 then (select min(f.seq) from found f)
            else (select o.seq from avouch.outbox o where o.state = 'dead' and o.seq < $1 order by o.seq desc offset 19999 limit 1) end::text
