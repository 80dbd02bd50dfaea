-- A stream is not what it was: it gets another number, and what the former one lost is written down, if messages had come there.
-- Guarded by the number that the caller compared it with. Whoever marks learns of a loss by the number of the change. What is
-- followed on places that are left is followed in the new number.
-- $1 name, $2 creation time as the broker tells it, $3 the former number or null, $4 what stood above is lost, $5 the reason.
with made as (
  insert into avouch.stream (name, incarnation, falls)
  select $1, $2, coalesce((select max(f.falls) + 1 from avouch.stream f where f.name = $1 and f.incarnation = $2), 0)
  where not exists (select from avouch.stream s where s.name = $1 and s.id > coalesce($3::int, 0))
  on conflict on constraint stream_incarnation do nothing
  returning id
), lost as (
  insert into avouch.loss (stream, above, successor, reason)
  select $3::int, $4::bigint, made.id, $5::text from made
  where exists (select from avouch.reached r where r.stream = $3::int)
  returning id
), changed as (
  update avouch.meta set consumers = consumers + 1 where exists (select from lost)
), kept as (
  update avouch.recovery r set stream = made.id
  from made
  where r.state = 'sent' and r.stream = $3::int and r.stream_seq <= $4::bigint
)
select made.id, (select lost.id from lost) from made
