-- Messages that a consumer has not finished, in the order of their places: at most 30000 that anybody has not finished are looked at, and
-- no more than it takes. Returns their ids, and where to go on.
-- $1 and $2 after this stream and sequence, $3 consumer, $4 topic or null, $5 state or null, $6 and $7 bounds of id, $8 most rows.
with found as materialized (
  select l.id, l.stream, l.stream_seq
  from (
    -- In the order that is wanted, so that it ends with the last one that is.
    select o.id, o.stream, o.stream_seq, o.topic, o.state, o.awaiting from avouch.outbox o
    where o.awaiting is not null and (o.stream, o.stream_seq) > ($1::int, $2::bigint)
    order by o.stream, o.stream_seq
    limit 30000
  ) l
  where (select c.id from avouch.consumer c where c.name = $3::text) = any (l.awaiting)
    and ($4::text is null or l.topic = $4 or right($4, 2) = '.>' and starts_with(l.topic, left($4, -1))) and ($5::text is null or l.state = $5)
    and l.id >= $6 and l.id < $7
  order by l.stream, l.stream_seq
  limit $8::bigint
)
select array(select f.id from found f order by f.stream, f.stream_seq),
       case when (select count(*) from found) = $8
              then (select f.stream || '.' || f.stream_seq from found f order by f.stream desc, f.stream_seq desc limit 1)
            else (
              select o.stream || '.' || o.stream_seq from avouch.outbox o
              where o.awaiting is not null and (o.stream, o.stream_seq) > ($1, $2)
              order by o.stream, o.stream_seq
              offset 29999 limit 1
            ) end
