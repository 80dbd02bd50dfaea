-- What came of tries: written once, if the delivery is still where the try began. What waits behind one that has ended may be tried now.
-- An endpoint that wants nothing any more is disabled; one that fails, or works again, is known to; a ping that fails (round 0) says nothing. Returns what was given up.
-- $1 endpoints, $2 messages, $3 rounds, $4 numbers of the tries from 1 on, $5 when they began, $6 how long they took in ms, $7 outcomes,
-- $8 statuses, $9 reasons, $10 excerpts, $11 plugin digests, $12 pauses in ms until the next try.
with done as materialized (
  select * from unnest($1::int[], $2::uuid[], $3::int[], $4::int[], $5::timestamptz[], $6::int[], $7::text[], $8::int[], $9::text[],
                       $10::text[], $11::text[], $12::bigint[])
    as t (endpoint, message_id, round, number, at, took_ms, outcome, status, reason, excerpt, plugin, pause_ms)
), marked as (
  update avouch.delivery d
  set state = case done.outcome when 'delivered' then 'delivered' when 'given_up' then 'given_up' else 'waiting' end,
      attempts = case done.outcome when 'postponed' then d.attempts else done.number end, status = done.status, reason = done.reason,
      next_at = clock_timestamp() + coalesce(done.pause_ms, 0) * interval '1 millisecond',
      ended_at = case when done.outcome in ('delivered', 'given_up') then clock_timestamp() end
  from done
  where d.endpoint = done.endpoint and d.message_id = done.message_id and d.state is not distinct from 'waiting'
    and d.rounds = done.round and d.attempts = done.number - 1
  returning d.endpoint, d.message_id, d.lane, d.seq, d.state
), logged as (
  insert into avouch.attempt (endpoint, message_id, round, number, at, took_ms, outcome, status, reason, excerpt, plugin)
  select done.endpoint, done.message_id, done.round, done.number, done.at, done.took_ms, done.outcome, done.status, done.reason,
         done.excerpt, done.plugin
  from done join marked using (endpoint, message_id)
), freed as (
  update avouch.delivery n
  set next_at = least(n.next_at, clock_timestamp())
  from marked m
  cross join lateral (
    select q.message_id from avouch.delivery q
    where q.endpoint = m.endpoint and q.lane = m.lane and q.state = 'waiting' and q.seq > m.seq
    order by q.seq
    limit 1
  ) first
  where m.lane is not null and m.state <> 'waiting'
    and n.endpoint = m.endpoint and n.message_id = first.message_id and n.state is not distinct from 'waiting'
), health as (
  select done.endpoint, bool_or(done.outcome = 'delivered') as works, 
         -- Nobody misses a ping.
         min(done.at) filter (where done.outcome <> 'delivered' and done.round > 0) as failed_at,
         max(done.reason) filter (where done.outcome = 'disabled') as gone
  from done join marked using (endpoint, message_id)
  group by done.endpoint
), known as (
  update avouch.endpoint e
  set failing_since = case when h.works then null else coalesce(e.failing_since, h.failed_at) end,
      state = case when h.gone is not null and e.state = 'enabled' then 'disabled' else e.state end,
      reason = case when h.gone is not null and e.state = 'enabled' then h.gone else e.reason end,
      told = e.told and (h.gone is null or e.state <> 'enabled'),
      changed_at = case when h.gone is not null and e.state = 'enabled' then clock_timestamp() else e.changed_at end
  from health h
  where e.id = h.endpoint
    and (h.gone is not null or h.works and e.failing_since is not null or not h.works and h.failed_at is not null and e.failing_since is null)
)
select m.endpoint, m.message_id from marked m where m.state = 'given_up'
