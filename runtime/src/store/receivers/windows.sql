-- What this endpoint is told, counted in windows of time, as far as so many rows go: the place of each window that is not empty, how many are
-- in it, delivered, waiting and given up, and the SHA-256 of their ids, each with a line feed behind it, in ascending order. The first 48
-- bits of an id are the milliseconds since 1970. The bounds are rows, so that no index that leads by the ids of all endpoints serves.
-- $1 endpoint, $2 above this id, $3 below this id, $4 where the first window begins, in ms since 1970, $5 ms of a window, $6 most rows.
select (d.at_ms - $4::bigint) / $5::bigint as place, count(*),
       count(*) filter (where d.state = 'delivered'), count(*) filter (where d.state = 'waiting'),
       count(*) filter (where d.state = 'given_up'),
       encode(sha256(convert_to(string_agg(d.id || e'\n', '' order by d.id collate "C"), 'UTF8')), 'hex')
from (
  select q.message_id::text as id, q.state,
         ('x' || substr(q.message_id::text, 1, 8) || substr(q.message_id::text, 10, 4))::bit(48)::bigint as at_ms
  from avouch.delivery q
  where (q.endpoint, q.message_id) > ($1, $2) and (q.endpoint, q.message_id) < ($1, $3)
  order by q.endpoint, q.message_id
  limit $6
) d
group by place
order by place
