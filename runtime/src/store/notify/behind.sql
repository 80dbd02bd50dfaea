-- These stand behind others of their lane: they are looked at again when the first of it is tried, and no sooner than in a second.
-- $1 endpoints, $2 messages.
update avouch.delivery d
set next_at = greatest(clock_timestamp() + interval '1 second', (
      select h.next_at from avouch.delivery h
      where h.endpoint = d.endpoint and h.lane = d.lane and h.state = 'waiting'
      order by h.seq
      limit 1))
from unnest($1::int[], $2::uuid[]) as b (endpoint, message_id)
where d.endpoint = b.endpoint and d.message_id = b.message_id and d.state is not distinct from 'waiting'
