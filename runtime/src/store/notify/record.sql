-- Messages and who is told of them, once: what is recorded already is left alone. Behind a message of its key that waits, it waits too.
-- $1 ids, $2 topics, $3 keys, $4 payloads, $5 headers, $6 when they were inserted; then pairs: $7 a message's place in these, from 1 on,
-- $8 an endpoint.
with told as materialized (
  select m.* from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[])
    with ordinality as m (id, topic, key, payload, headers, created_at, place)
), kept as (
  insert into avouch.notice (message_id, topic, key, payload, headers, created_at)
  select m.id, m.topic, m.key, m.payload, m.headers::jsonb, m.created_at from told m
  on conflict on constraint notice_pkey do nothing
)
insert into avouch.delivery (endpoint, message_id, lane, next_at)
select e.id, m.id, case when e.is_ordered then m.key end,
       coalesce(
         (select h.next_at from avouch.delivery h
          where e.is_ordered and h.endpoint = e.id and h.lane = m.key and h.state = 'waiting'
          order by h.seq
          limit 1),
         clock_timestamp())
from unnest($7::bigint[], $8::int[]) as p (place, endpoint)
join told m on m.place = p.place
join avouch.endpoint e on e.id = p.endpoint and e.state <> 'removed'
order by p.place
on conflict on constraint delivery_pkey do nothing
