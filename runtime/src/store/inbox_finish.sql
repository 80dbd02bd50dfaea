-- What holders of tokens say, and whether they were the holders: state is done, running, waiting, rejected or fenced. One
-- answer a word, in the order of the words, which come by consumer and key: two batches lock in one order.
-- $1 words (complete, renew, fail), $2 consumers, $3 keys, $4 tokens, $5 results or reasons, $6 permanent, $7 pauses in ms: seven
-- arrays side by side.
select d.state, d.ms
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::boolean[], $7::bigint[]) with ordinality
  as a (word, consumer, key, token, text, permanent, pause_ms, n)
cross join lateral (
  select case when c.is_done then 'done' else 'fenced' end as state, null::bigint as ms
  from (select avouch.inbox_complete(a.consumer, a.key, a.token, a.text) as is_done) c
  where a.word = 'complete'
  union all
  select case when r.ms is null then 'fenced' else 'running' end, r.ms
  from (select avouch.inbox_renew(a.consumer, a.key, a.token) as ms) r
  where a.word = 'renew'
  union all
  select f.state, f.retry_after_ms
  from avouch.inbox_fail(a.consumer, a.key, a.token, a.text, a.permanent, a.pause_ms * interval '1 ms') f
  where a.word = 'fail'
) d
order by a.n
