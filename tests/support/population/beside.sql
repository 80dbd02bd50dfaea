-- What stands beside the rows of outbox.sql, made of them: statements of one transaction.
insert into avouch.stream (id, name, incarnation) overriding system value values (1, 'AVOUCH', now() - interval '31 days');
insert into avouch.consumer
  (id, name, lease_ms, takeover, attempts_max, retry_first_ms, retry_max_ms, stream, topics, is_required, start_seq, is_releasing)
overriding system value values
  (1, 'billing', 30000, 'rerun', 5, 1000, 60000, 'AVOUCH', '{orders.*,payments.*,stock.*,shipments.*}', true, 1, false),
  (2, 'shipping', 30000, 'park', 5, 1000, 60000, 'AVOUCH', '{orders.*,payments.*,stock.*,shipments.*}', true, 1, false);
update avouch.meta set consumers = consumers + 1;

-- A transaction for each row that has one: those of prepared rows wait, every other one for a person.
insert into avouch.tx (id, checker, ref, state, messages, check_at, created_at, checking_since, checks, unknowns, verdict, decided_at, decided_by, alarmed_at, reason, checked_by)
select
  tx_id, 'order-check', 'order-' || seq,
  case state when 'cancelled' then 'rolled_back' when 'prepared' then case when seq % 2000 < 1000 then 'in_doubt' else 'prepared' end else 'committed' end,
  1, created_at + interval '5 minutes', created_at, created_at,
  case state when 'prepared' then 5 else 0 end, case state when 'prepared' then 5 else 0 end, case state when 'prepared' then 'unknown' end,
  case when state <> 'prepared' then coalesce(released_at, created_at) end, case when state <> 'prepared' then 'producer' end,
  case when state = 'prepared' and seq % 2000 < 1000 then created_at + interval '1 hour' end,
  case state when 'cancelled' then 'declined' when 'prepared' then case when seq % 2000 < 1000 then 'unknown 5 times' end end,
  case state when 'prepared' then repeat('a', 64) end
from avouch.outbox where tx_id is not null;

-- Those of ready rows are there: the trigger admit, which always fires, has reserved them.
insert into avouch.dedup (topic, dedup_key, message_id)
select topic, dedup_key, id from avouch.outbox where dedup_key is not null and state <> 'ready';

-- Dead ones, for a consumer or because they were never sent.
insert into avouch.recovery (message_id, consumer, state, generation, tries, reason, stream, stream_seq, told, changed_at)
select id, coalesce(awaiting[1], 0), 'dead', generation, generation, reason, stream, stream_seq, true, created_at + interval '10 minutes'
from avouch.outbox where state = 'dead';

-- Missed ones: every other one is sent again already.
insert into avouch.recovery (message_id, consumer, state, generation, tries, reason, stream, stream_seq, changed_at)
select id, awaiting[1], case when seq % 2 = 0 then 'sent' else 'pending' end, 1, 1, 'no receipt within 60 s',
       case when seq % 2 = 0 then stream end, case when seq % 2 = 0 then stream_seq end, sent_at + interval '1 minute'
from avouch.outbox where awaiting is not null and state = 'sent' and seq % 1000 in (7, 8);

-- One key in ten of those is parked behind its message.
insert into avouch.hold (kind, name, message_id, reason, created_at)
select distinct on (key) 'key', key, id, reason, created_at
from avouch.outbox where state = 'dead' and sent_at is null and seq % 10000 = 0 and key is not null order by key, seq;

insert into avouch.audit (at, actor, action, subject, detail)
select created_at + interval '1 hour', 'ada', 'discard', id::text, reason from avouch.outbox where state = 'discarded' order by seq;

-- One message in a hundred came to a consumer that asks; few of them did not end well.
insert into avouch.inbox (consumer, key, state, attempts, until, message_id, result, reason, created_at, changed_at)
select 1, id::text, case seq % 10000 when 900 then 'parked' when 1900 then 'rejected' else 'done' end, 1 + (seq % 3)::int, null, id,
       case when seq % 10000 not in (900, 1900) then '{"invoice":' || seq || '}' end,
       case when seq % 10000 in (900, 1900) then 'the customer is unknown' end, sent_at, sent_at + interval '20 ms'
from avouch.outbox where state = 'consumed' and seq % 100 = 0;

-- What their rows do not tell: each answer of a checker, what people did, what was missed, who died for whom.
insert into avouch.event (at, subject, what, consumer, actor, detail)
select e.at, e.subject, e.what, e.consumer, e.actor, e.detail
from (
  select t.created_at + n * interval '5 minutes' as at, t.id as subject, 'asked' as what, null::int as consumer, null::text as actor,
         jsonb_build_object('verdict', 'unknown', 'plugin', t.checked_by, 'checks', n, 'next', t.created_at + (n + 1) * interval '5 minutes') as detail
  from avouch.tx t cross join generate_series(1, 5) n where t.checks = 5
  union all
  select t.alarmed_at, t.id, 'in_doubt', null, null, jsonb_build_object('reason', t.reason, 'plugin', t.checked_by, 'checks', 5)
  from avouch.tx t where t.state = 'in_doubt'
  union all
  select o.created_at + interval '10 minutes', o.id, o.state, null, case o.state when 'discarded' then 'ada' end,
         jsonb_strip_nulls(jsonb_build_object('from', case when o.awaiting is null then 'ready' else 'sent' end, 'generation', o.generation,
           'reason', o.reason, 'why', case o.state when 'discarded' then 'the customer has gone' end))
  from avouch.outbox o where o.state in ('dead', 'discarded', 'cancelled')
  union all
  select r.changed_at, r.message_id, 'dead', r.consumer, null, jsonb_build_object('generation', r.generation, 'tries', r.tries, 'reason', r.reason)
  from avouch.recovery r where r.state = 'dead' and r.consumer <> 0
  union all
  select r.changed_at - (3 - n) * interval '1 minute', r.message_id, w.what, r.consumer, null,
         jsonb_build_object('generation', n, 'tries', n, 'reason', 'no receipt within 60 s', 'stream', 1, 'sequence', r.stream_seq)
  from avouch.recovery r
  cross join generate_series(1, 3) n
  cross join (values ('missed'), ('sent_again')) as w (what)
  where n <= r.tries and r.consumer <> 0 and (w.what = 'missed' or r.state <> 'pending')
) e
order by e.at;

-- The versions that answered, and what they said: as many lines as are kept.
insert into avouch.plugin (name, digest, version, file)
select 'order-check', repeat(d, 64), '1.' || d, decode(repeat('00', 100000), 'hex') from unnest(array['a', 'b']) d;
insert into avouch.deployment (name, digest, at, actor)
select 'order-check', repeat(case when n % 2 = 0 then 'a' else 'b' end, 64), now() - n * interval '1 day', 'ada' from generate_series(30, 1, -1) n;
insert into avouch.plugin_log (at, plugin, digest, tx_id, level, line)
select t.created_at, 'order-check', t.checked_by, t.id, 'info', 'order ' || t.ref || ' is not there yet'
from avouch.tx t order by t.created_at desc limit 100000;

-- A sample each ten seconds of a day.
insert into avouch.sample (at, ready, waiting, dead, in_doubt, oldest_s, inserted_per_s, sent_per_s, received_per_s)
select now() - n * interval '10 s', n % 900, n % 5000, 10001, 900, n % 60, 1900 + n % 100, 1900 + n % 90, 1900 + n % 80
from generate_series(1, 8640) n;

select setval('avouch.outbox_seq', (select max(seq) from avouch.outbox)),
       setval(pg_get_serial_sequence('avouch.stream', 'id'), 1), setval(pg_get_serial_sequence('avouch.consumer', 'id'), 2)
