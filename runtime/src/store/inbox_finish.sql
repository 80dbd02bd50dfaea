-- What holders of tokens say, and whether they were the holders: state is done, running, waiting, rejected or fenced. One
-- answer a word, in the order of the words, which come by consumer and key: two batches lock in one order. Where all say that
-- they are done, one update does what is plain: the record of a message's own id, whose token is held. The rest is told to the
-- functions; they lock nothing out of order then, because a token that was not held will never be. Each record is looked up by
-- itself (the limit keeps the planner from joining the other way round).
-- $1 words (complete, renew, fail), $2 consumers, $3 keys, $4 tokens, $5 results or reasons, $6 permanent, $7 pauses in ms: seven
-- arrays side by side.
with said as materialized (
  select a.*, c.id as who
  from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::boolean[], $7::bigint[]) with ordinality
    as a (word, consumer, key, token, text, permanent, pause_ms, n)
  left join avouch.consumer c on c.name = a.consumer
), done as (
  update avouch.inbox i
  set state = 'done', revision = i.revision + 1, until = null, result = s.text, reason = null, changed_at = clock_timestamp()
  from said s
  cross join lateral (
    select q.ctid
    from avouch.inbox q
    where q.consumer = s.who and q.key = s.key and q.token = s.token and q.state = 'running' and q.key = q.message_id::text
    limit 1
  ) found
  where 'complete' = all ($1::text[]) and i.ctid = found.ctid and i.token = s.token and i.state = 'running'
  returning s.n
)
select case when d.n is null then l.state else 'done' end, l.ms
from said a
left join done d on d.n = a.n
-- The fence keeps the condition inside, so that nothing is said twice.
left join lateral (
  select case when c.is_done then 'done' else 'fenced' end as state, null::bigint as ms
  from (select avouch.inbox_complete(a.consumer, a.key, a.token, a.text) as is_done) c
  where a.word = 'complete' and d.n is null
  union all
  select case when r.ms is null then 'fenced' else 'running' end, r.ms
  from (select avouch.inbox_renew(a.consumer, a.key, a.token) as ms) r
  where a.word = 'renew'
  union all
  select f.state, f.retry_after_ms
  from avouch.inbox_fail(a.consumer, a.key, a.token, a.text, a.permanent, a.pause_ms * interval '1 ms') f
  where a.word = 'fail'
  offset 0
) l on true
order by a.n
