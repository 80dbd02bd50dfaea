-- What a stream was before, where somebody still waits for a consumer. What has lost something is left to the relays until they are done
-- with it. $1 name, $2 what it is now.
select s.id
from avouch.stream s
where s.name = $1 and s.id <> $2
  and (exists (select from avouch.outbox o where o.stream = s.id and o.awaiting is not null)
    or exists (select from avouch.recovery r where r.stream = s.id and r.state = 'sent'))
  and not exists (select from avouch.loss l join avouch.shard h on h.requeued < l.id where l.stream = s.id)
