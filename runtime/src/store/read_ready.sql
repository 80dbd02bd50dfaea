-- Rows that may be sent, in the order of each shard. Rows of topics that the feed does not carry come too, without their
-- contents, so that reading passes them once. Payloads over $7 bytes stay behind: they are fetched one by one.
-- $1 feed numbers, $2 each one's only topic (null: all but $6), $3 shards, $4 exclusive lower bounds of seq, $5 most rows:
-- five arrays side by side; $6 topics that the main feed leaves out; $7 most bytes of a payload.
select ask.feed, o.shard, o.seq, o.id, o.generation, o.created_at, o.topic, o.key,
       case when wanted and octet_length(o.payload) <= $7::int then o.payload end as payload,
       case when wanted and octet_length(o.payload_bytes) <= $7::int then o.payload_bytes end as payload_bytes,
       coalesce(octet_length(o.payload), octet_length(o.payload_bytes)) as bytes,
       case when wanted then o.headers::text end as headers, wanted
from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::int[]) as ask (feed, only_topic, shard, after, rows)
cross join lateral (
  select *
  from avouch.outbox q
  where q.state = 'ready' and q.not_before is null and q.shard = ask.shard and q.seq > ask.after
  order by q.seq
  limit ask.rows
) o
cross join lateral (
  select case when ask.only_topic is null then o.topic <> all ($6::text[]) else o.topic = ask.only_topic end as wanted
) w
