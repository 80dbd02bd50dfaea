-- ready -> sent, after the PubAcks. The lock on the shard's row waits for a change of owner and then sees the new epoch: a
-- former owner's marks touch nothing. A mark may be lost in a crash of the server (the row is sent again under its id),
-- so its commit does not wait for the disk. Each mark is looked up by itself (the limit keeps the planner from joining
-- the other way round), whatever the statistics of a table that is empty now and has a million rows in a minute.
-- Its id says that it is that row: a sequence can give a value twice, after a crash or when the database was restored. (Not as
-- an equality, which would be looked up in the index of all ids.)
-- Nothing is marked if who must have a message has changed since the caller learned it: what was marked before a consumer was
-- made stands before the place where it starts. Nor is what stands in a stream that is known to have lost something.
-- $1 shards and $2 epochs side by side; $3 shards, $4 seqs, $5 streams, $6 sequences in the stream, $7 consumers whose receipts
-- it waits for (as int[] is written), $8 ids side by side; $9 the number of that change.
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
), lost as materialized (
  select array(select l.stream from avouch.loss l) as streams
), reached as (
  insert into avouch.reached as r (shard, stream, stream_seq, message_id)
  select distinct on (m.stream) m.shard, m.stream, m.stream_seq, m.id
  from unnest($3::int[], $5::int[], $6::bigint[], $8::uuid[]) as m (shard, stream, stream_seq, id)
  where m.shard = any ((select mine.shards from mine)::int[])
  order by m.stream, m.stream_seq desc
  on conflict on constraint reached_pkey do update
  set stream_seq = excluded.stream_seq, message_id = excluded.message_id
  where r.stream_seq < excluded.stream_seq
)
update avouch.outbox o
set state = 'sent', stream = mark.stream, stream_seq = mark.stream_seq, sent_at = clock_timestamp(), awaiting = mark.awaiting::int[]
from unnest($3::int[], $4::bigint[], $5::int[], $6::bigint[], $7::text[], $8::uuid[])
  as mark (shard, seq, stream, stream_seq, awaiting, id)
cross join lateral (
  select q.ctid
  from avouch.outbox q
  where q.shard = mark.shard and q.seq = mark.seq and q.state = 'ready' and q.not_before is null and q.id is not distinct from mark.id
    and mark.shard = any ((select mine.shards from mine)::int[])
    and mark.stream <> all ((select lost.streams from lost)::int[])
  limit 1
) found
where o.ctid = found.ctid and o.state = 'ready' and (select lazy.setting from lazy) is not null
  and (select m.consumers from avouch.meta m) = $9
