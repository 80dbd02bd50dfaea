-- What nobody will tell any more is given up: what waits for endpoints that were removed, and what has waited for longer than it is kept.
-- $1 hours, $2 most rows.
with gone as materialized (
  (select d.endpoint, d.message_id, 'the endpoint was removed' as why
   from avouch.endpoint e
   join avouch.delivery d on d.endpoint = e.id and d.state = 'waiting'
   where e.state = 'removed'
   limit $2)
  union all
  (select d.endpoint, d.message_id, 'it was not delivered within notify.keep_hours'
   from avouch.delivery d
   where d.state = 'waiting'
     and d.message_id < (select (lpad(to_hex((extract(epoch from clock_timestamp() - $1::int * interval '1 hour') * 1000)::bigint), 12, '0')
                                 || '00000000000000000000')::uuid)
   order by d.message_id
   limit $2)
)
update avouch.delivery d
set state = 'given_up', reason = gone.why, ended_at = clock_timestamp()
from gone
where d.endpoint = gone.endpoint and d.message_id = gone.message_id and d.state is not distinct from 'waiting'
