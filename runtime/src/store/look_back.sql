-- Where rows stand that may be sent, at or below the cursors.
-- $1 feed numbers, $2 each one's only topic (null: all but $6), $3 shards, $4 cursors, $5 most rows: five arrays side by
-- side; $6 topics that the main feed leaves out.
select ask.feed, o.shard, o.seq
from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::int[]) as ask (feed, only_topic, shard, after, rows)
cross join lateral (
  select q.shard, q.seq
  from avouch.outbox q
  where q.state = 'ready' and q.not_before is null and q.shard = ask.shard and q.seq <= ask.after
    and case when ask.only_topic is null then q.topic <> all ($6::text[]) else q.topic = ask.only_topic end
  order by q.seq
  limit ask.rows
) o
