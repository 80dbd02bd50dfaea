-- What may be tried now, the longest due first, so many of each endpoint; and when what stands before it in its lane is tried, if anything
-- does. The clock is read once, by a query of its own: a volatile function bounds no index, and all that waits would be read each time.
-- $1 endpoints, $2 how many of each.
select d.endpoint, d.message_id, d.rounds, d.attempts, d.bytes,
       (select h.next_at from avouch.delivery h
        where d.lane is not null and h.endpoint = d.endpoint and h.lane = d.lane and h.state = 'waiting' and h.seq < d.seq
        order by h.seq
        limit 1) is not null
from unnest($1::int[], $2::int[]) as a (endpoint, rows)
cross join lateral (
  select q.endpoint, q.message_id, q.rounds, q.attempts, q.lane, q.seq,
         (select octet_length(n.payload) from avouch.notice n where n.message_id = q.message_id) as bytes
  from avouch.delivery q
  where q.endpoint = a.endpoint and q.state = 'waiting' and q.next_at <= (select clock_timestamp())
  order by q.next_at
  limit a.rows
) d
