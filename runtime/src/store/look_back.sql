-- Where rows stand that may be sent, below what was read already.
-- $1 feed numbers, $2 each one's only topic (null: all but $7), $3 shards, $4 exclusive lower and $5 inclusive upper bounds
-- of seq, $6 most rows: six arrays side by side; $7 topics that the main feed leaves out.
select ask.feed, o.shard, o.seq
from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::int[])
  as ask (feed, only_topic, shard, after, upto, rows)
cross join lateral (
  select q.shard, q.seq
  from avouch.outbox q
  where q.state = 'ready' and q.not_before is null and q.shard = ask.shard and q.seq > ask.after and q.seq <= ask.upto
    and case when ask.only_topic is null then q.topic <> all ($7::text[]) else q.topic = ask.only_topic end
  order by q.seq
  limit ask.rows
) o
