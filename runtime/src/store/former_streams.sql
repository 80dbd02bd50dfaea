-- Former incarnations of a stream in which somebody still waits for a consumer. $1 name, $2 the present one.
select s.id
from avouch.stream s
where s.name = $1 and s.id <> $2
  and (exists (select from avouch.outbox o where o.stream = s.id and o.awaiting is not null)
    or exists (select from avouch.recovery r where r.stream = s.id and r.state = 'sent'))
