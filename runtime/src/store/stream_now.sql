-- The number of what a stream is now, if a relay has seen it. $1 name, $2 creation time as the broker tells it.
select s.id from avouch.stream s where s.name = $1 and s.incarnation = $2 order by s.falls desc limit 1
