-- Rows that may be sent, in the order of each shard: those above the cursor, and below it those that the previous snapshot
-- did not see. Both in one snapshot, which comes as the first row (its text as topic, as generation how far the next
-- transaction id is beyond its xmax, as bytes the ms until a delayed row is due): a later row of a key never comes without the earlier.
-- Rows of topics that the feed does not carry come too, without their contents, so that reading passes them once. Payloads
-- over $7 bytes stay behind: they are fetched one by one.
-- $1 feed numbers, $2 each one's only topic (null: all but $6), $3 shards, $4 cursors, $5 most rows: five arrays side by
-- side; $6 topics that the main feed leaves out; $7 most bytes of a payload; $8 nothing new is at or below this seq;
-- $9 the previous snapshot.
select -1 as feed, null::int as shard, null::bigint as seq, null::uuid as id,
       age(pg_snapshot_xmax(pg_current_snapshot())::xid) as generation,
       null::timestamptz as created_at, pg_current_snapshot()::text as topic, null as key, null as payload,
       null::bytea as payload_bytes,
       (
         -- (Without a delayed row there is no row here: greatest() would make 0 of a null.)
         select least(greatest(extract(epoch from d.not_before - clock_timestamp()) * 1000, 0), 86400000)::int
         from avouch.outbox d
         where d.state = 'ready' and d.not_before is not null
         order by d.not_before
         limit 1
       ) as bytes,
       null as headers, false as wanted
union all
select ask.feed, o.shard, o.seq, o.id, o.generation, o.created_at, o.topic, o.key,
       case when wanted and octet_length(o.payload) <= $7::int then o.payload end,
       case when wanted and octet_length(o.payload_bytes) <= $7::int then o.payload_bytes end,
       coalesce(octet_length(o.payload), octet_length(o.payload_bytes)),
       case when wanted then o.headers::text end, wanted
from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::int[]) as ask (feed, only_topic, shard, after, rows)
cross join lateral (
  select *
  from avouch.outbox q
  where q.state = 'ready' and q.not_before is null and q.shard = ask.shard and q.seq > least(ask.after, $8::bigint)
    and (q.seq > ask.after or not pg_visible_in_snapshot(q.xact, $9::text::pg_snapshot))
  order by q.seq
  limit ask.rows
) o
cross join lateral (
  select case when ask.only_topic is null then o.topic <> all ($6::text[]) else o.topic = ask.only_topic end as wanted
) w
