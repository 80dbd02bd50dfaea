-- Lets delayed rows go whose time has come: each takes a new seq, in the order of their times.
-- $1 most rows.
with due as (
  select d.id, nextval('avouch.outbox_seq') as seq
  from (
    select q.id
    from avouch.outbox q
    where q.state = 'ready' and q.not_before <= clock_timestamp()
    order by q.not_before, q.seq
    limit $1
    for update skip locked
  ) d
)
update avouch.outbox o
set xact = pg_current_xact_id(), seq = due.seq, not_before = null, released_at = clock_timestamp()
from due
where o.id = due.id and o.state is not distinct from 'ready' and o.not_before is not null
