-- The first place in an incarnation where somebody waits for a consumer. $1 the incarnation.
select o.stream_seq from avouch.outbox o where o.stream = $1 and o.awaiting is not null order by o.stream_seq limit 1
