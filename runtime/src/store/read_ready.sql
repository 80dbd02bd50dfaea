-- Rows that may be sent, in the order of each shard, bounded in rows and bytes (at least one row a shard).
-- $1 feed numbers, $2 each one's only topic (null: all but $6), $3 shards, $4 exclusive lower bounds of seq, $5 most rows:
-- five arrays side by side; $6 topics that the main feed leaves out; $7 most bytes of payload for each shard.
select ask.feed, o.shard, o.seq, o.id, o.generation, o.created_at, o.topic, o.key,
       o.payload, o.payload_bytes, o.headers
from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::int[]) as ask (feed, only_topic, shard, after, rows)
cross join lateral (
  select r.shard, r.seq, r.id, r.generation, r.created_at, r.topic, r.key, r.payload, r.payload_bytes,
         r.headers::text as headers, octet_length(coalesce(r.payload, '')) + octet_length(coalesce(r.payload_bytes, '')) as size,
         sum(octet_length(coalesce(r.payload, '')) + octet_length(coalesce(r.payload_bytes, ''))) over (order by r.seq) as total
  from (
    select *
    from avouch.outbox q
    where q.state = 'ready' and q.not_before is null and q.shard = ask.shard and q.seq > ask.after
      and case when ask.only_topic is null then q.topic <> all ($6::text[]) else q.topic = ask.only_topic end
    order by q.seq
    limit ask.rows
  ) r
) o
where o.total - o.size < $7::bigint
