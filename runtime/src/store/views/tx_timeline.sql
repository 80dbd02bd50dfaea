-- What happened to a transaction. A checker that is asked for days is asked thousands of times: its last 500 answers are told, and how many
-- came before them. $1 id.
with happened (at, what, actor, detail, place) as (
  select t.created_at, 'prepared', null::text, jsonb_strip_nulls(jsonb_build_object('checker', t.checker, 'reference', t.ref)), 0::bigint
  from avouch.tx t where t.id = $1
  union all
  select t.decided_at, t.state, null, jsonb_strip_nulls(jsonb_build_object('by', t.decided_by, 'reason', t.reason)), 0
  from avouch.tx t
  where t.id = $1 and t.decided_at is not null and not exists (select from avouch.event e where e.subject = t.id and e.what = t.state)
  union all
  select e.at, e.what, e.actor, e.detail, e.id from avouch.event e where e.subject = $1
), ranked as (
  select h.*, row_number() over (partition by h.what = 'asked' order by h.place desc, h.at desc) as nth from happened h
)
select jsonb_build_object('at', h.at, 'subject', 'transaction', 'what', h.what, 'consumer', null, 'actor', h.actor, 'detail', h.detail)::text
from (
  select r.at, r.what, r.actor, r.detail, r.place from ranked r where r.nth <= 500 or r.place = 0
  union all
  select max(r.at), 'asked_before', null, jsonb_build_object('checks', count(*), 'since', min(r.at)), max(r.place)
  from ranked r where r.nth > 500 and r.what = 'asked' having count(*) > 0
) h
order by h.at, h.place
