-- ready -> sent, after the PubAcks. The lock on the shard's row waits for a change of owner and then sees the new epoch: a
-- former owner's marks touch nothing. A mark may be lost in a crash of the server (the row is sent again under its id),
-- so its commit does not wait for the disk. Each mark is looked up by itself (the limit keeps the planner from joining
-- the other way round), whatever the statistics of a table that is empty now and has a million rows in a minute.
-- Nothing is marked if who must have a message has changed since the caller learned it: what was marked before a consumer was
-- made stands before the place where it starts.
-- $1 shards and $2 epochs side by side; $3 shards, $4 seqs, $5 streams, $6 sequences in the stream, $7 consumers whose receipts
-- it waits for (as int[] is written) side by side; $8 the number of that change; $9 ids, beside $3: after a failover another row
-- may have the seq.
with fence as materialized (
  select s.shard
  from avouch.shard s
  join unnest($1::int[], $2::bigint[]) as mine (shard, epoch) on mine.shard = s.shard
  where s.epoch = mine.epoch
  for share of s
), lazy as materialized (
  select set_config('synchronous_commit', 'off', true) as setting
), mine as materialized (
  select array_agg(shard) as shards from fence
)
update avouch.outbox o
set state = 'sent', stream = mark.stream, stream_seq = mark.stream_seq, sent_at = clock_timestamp(), awaiting = mark.awaiting::int[]
from unnest($3::int[], $4::bigint[], $5::int[], $6::bigint[], $7::text[], $9::uuid[]) as mark (shard, seq, stream, stream_seq, awaiting, id)
cross join lateral (
  select q.ctid
  from avouch.outbox q
  where q.shard = mark.shard and q.seq = mark.seq and q.state = 'ready' and q.not_before is null
    and mark.shard = any ((select mine.shards from mine)::int[])
  limit 1
) found
where o.ctid = found.ctid and o.id = mark.id and o.state = 'ready' and (select lazy.setting from lazy) is not null
  and (select m.consumers from avouch.meta m) = $8
