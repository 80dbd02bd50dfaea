-- How much an endpoint was not told since then, counted to so many. $1 the endpoint, $2 since, $3 most rows.
select count(*) from (
  select from avouch.delivery d
  where d.endpoint = (select e.id from avouch.endpoint e where e.name = $1 and e.state <> 'removed')
    and d.state = 'given_up' and d.ended_at >= $2::timestamptz and d.rounds > 0
  limit $3::bigint
) g
