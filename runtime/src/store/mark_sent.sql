-- ready → sent, after the PubAcks. The lock on the shard's row waits for a change of owner and then sees the new epoch: a
-- former owner's marks touch nothing. A mark may be lost in a crash of the server (the row is sent again under its id),
-- so its commit does not wait for the disk.
-- $1 shards and $2 epochs side by side; $3 shards, $4 seqs, $5 streams, $6 sequences in the stream side by side.
with fence as materialized (
  select s.shard
  from avouch.shard s
  join unnest($1::int[], $2::bigint[]) as mine (shard, epoch) on mine.shard = s.shard
  where s.epoch = mine.epoch
  for share of s
), lazy as materialized (
  select set_config('synchronous_commit', 'off', true) as setting
)
update avouch.outbox o
set state = 'sent', stream = mark.stream, stream_seq = mark.stream_seq, sent_at = clock_timestamp()
from unnest($3::int[], $4::bigint[], $5::int[], $6::bigint[]) as mark (shard, seq, stream, stream_seq)
where o.shard = mark.shard and o.seq = mark.seq and o.state = 'ready' and o.not_before is null
  and mark.shard in (select fence.shard from fence)
  and (select lazy.setting from lazy) is not null
