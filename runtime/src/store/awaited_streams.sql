-- Incarnations of streams in which somebody waits for a consumer.
select s.id from avouch.stream s where exists (select from avouch.outbox o where o.stream = s.id and o.awaiting is not null)
