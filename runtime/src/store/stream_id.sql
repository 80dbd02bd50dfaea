-- The number of a stream's incarnation, made if it is new.
-- $1 name, $2 creation time as the broker tells it.
with made as (
  insert into avouch.stream (name, incarnation) values ($1, $2)
  on conflict on constraint stream_incarnation do nothing
  returning id
)
select id from made
union all
select id from avouch.stream where name = $1 and incarnation = $2
limit 1
