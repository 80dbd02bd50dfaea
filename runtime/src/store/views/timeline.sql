-- What happened to a message: what its row tells, and what was written down beside it; its transaction's part; its consumers' records, by
-- its id and by what plugins made of it. The last 500 answers of a checker are told, and how many came before them; of the rest, the last 500.
-- $1 id.
with message as materialized (
  select o.*, s.name as stream_name from avouch.outbox o left join avouch.stream s on s.id = o.stream where o.id = $1
), happened (at, subject, what, consumer, actor, detail, place) as (
  select m.created_at, 'message', 'inserted', null::int, null::text, jsonb_build_object('topic', m.topic), 0::bigint from message m
  union all
  -- A resend sets released_at too, and is an event.
  select m.released_at, 'message', 'released', null, null, '{}', 0
  from message m
  where m.released_at is not null and not exists (
    select from avouch.event e where e.subject = $1 and e.what = 'resent' and e.detail ->> 'from' = 'dead' and e.at >= m.released_at)
  union all
  -- Later sendings are events; this is the first, or the only one.
  select m.sent_at, 'message', 'sent', null, null,
         jsonb_build_object('stream', m.stream_name, 'sequence', m.stream_seq, 'generation', 0), 0
  from message m
  where m.sent_at is not null
    and not exists (select from avouch.event e where e.subject = $1 and e.what = 'sent' and e.consumer is null and e.detail ->> 'from' = 'ready')
  union all
  select r.at, 'message', 'received', r.consumer, null, '{}', 0
  from message m cross join lateral unnest(m.received_by, m.received_at) as r (consumer, at)
  union all
  select e.at, 'message', e.what, e.consumer, e.actor,
         case when e.detail ? 'stream' then e.detail || jsonb_build_object('stream', (select s.name from avouch.stream s where s.id = (e.detail ->> 'stream')::int))
              else e.detail end, e.id
  from avouch.event e where e.subject = $1
  union all
  select i.changed_at, 'message', 'inbox_' || i.state, i.consumer, null,
         jsonb_strip_nulls(jsonb_build_object(
           'key', case when i.key <> $1::text then i.key end, 'attempts', i.attempts, 'until', i.until, 'reason', i.reason)), 0
  from (
    select q.* from avouch.consumer c
    cross join lateral (select w.* from avouch.inbox w where w.consumer = c.id and w.key = $1::text limit 1) q
    union all
    (select w.* from avouch.inbox w where w.message_id = $1 and w.key <> w.message_id::text limit 100)
  ) i
  union all
  select t.created_at, 'transaction', 'prepared', null, null, jsonb_strip_nulls(jsonb_build_object('checker', t.checker, 'reference', t.ref)), 0
  from message m join avouch.tx t on t.id = m.tx_id
  union all
  select t.decided_at, 'transaction', t.state, null, null, jsonb_strip_nulls(jsonb_build_object('by', t.decided_by, 'reason', t.reason)), 0
  from message m join avouch.tx t on t.id = m.tx_id
  where t.decided_at is not null and not exists (select from avouch.event e where e.subject = t.id and e.what = t.state)
  union all
  select e.at, 'transaction', e.what, null, e.actor, e.detail, e.id
  from message m join avouch.event e on e.subject = m.tx_id
), ranked as (
  select h.*, row_number() over (partition by h.what = 'asked' order by h.place desc, h.at desc) as nth from happened h
)
select jsonb_build_object('at', h.at, 'subject', h.subject, 'what', h.what, 'consumer', c.name, 'actor', h.actor, 'detail', h.detail)::text
from (
  select r.at, r.subject, r.what, r.consumer, r.actor, r.detail, r.place from ranked r where r.nth <= 500 or r.place = 0
  union all
  select max(r.at), 'transaction', 'asked_before', null, null, jsonb_build_object('checks', count(*), 'since', min(r.at)), max(r.place)
  from ranked r where r.nth > 500 and r.what = 'asked' having count(*) > 0
) h left join avouch.consumer c on c.id = h.consumer
order by h.at, h.place
