-- What a broker has lost: sent -> ready, in its old place in the order of its key, with the next generation. A part of the outbox at a
-- time, fenced like mark_sent. What nobody waits for is sent again if the stream would still hold it: nobody knows whether it was
-- consumed. What is being sent again to single consumers already is left to that. What the broker still has, and somebody waits
-- for, is followed under the stream's new number.
-- $1 shards and $2 epochs side by side; $3 the stream that has lost it, $4 above this sequence, $5 its successor; $6 how long it holds
-- a message, in ms, or null; $7 the part begins behind this id, $8 rows in the part.
with fence as materialized (
  select s.shard
  from avouch.shard s
  join unnest($1::int[], $2::bigint[]) as mine (shard, epoch) on mine.shard = s.shard
  where s.epoch = mine.epoch
  for share of s
), part as materialized (
  select p.id, p.shard, p.stream, p.stream_seq, p.state, p.sent_at, p.awaiting is not null as is_awaited
  from avouch.outbox p
  where p.id > $7
  order by p.id
  limit $8
), chosen as materialized (
  select p.id, p.stream_seq > $4 as is_lost
  from part p
  where p.stream = $3 and p.shard in (select f.shard from fence f)
    and case
      when p.stream_seq <= $4 then p.is_awaited
      else p.state = 'sent' and (p.is_awaited or $6::bigint is null or p.sent_at > clock_timestamp() - $6::bigint * interval '1 ms')
        and not exists (select from avouch.recovery r where r.message_id = p.id and r.consumer <> 0)
    end
), requeued as (
  update avouch.outbox o
  set state = 'ready', generation = generation + 1, xact = pg_current_xact_id(), stream = null, stream_seq = null, sent_at = null,
      awaiting = null
  where o.id = any ((select array_agg(c.id) from chosen c where c.is_lost)::uuid[]) and o.state = 'sent' and o.stream = $3
  returning 1
), kept as (
  update avouch.outbox o set stream = $5
  where o.id = any ((select array_agg(c.id) from chosen c where not c.is_lost)::uuid[]) and o.stream = $3 and o.awaiting is not null
)
select (select count(*) from requeued), (select p.id from part p order by p.id desc limit 1)
