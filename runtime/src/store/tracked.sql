-- Who must have which messages, and since which change: for the relay, and for the loop that follows receipts.
select m.consumers, c.id, c.name, c.stream, c.topics, c.is_required, c.receipt, c.trust_settled, c.deadline_ms, c.generations_max,
       c.start_seq, c.is_releasing,
       (select h.name from avouch.hold h where h.kind = 'consumer' and h.name = c.name limit 1) is not null, m.id,
       (select coalesce(max(l.id), 0) from avouch.loss l)
from avouch.meta m
left join avouch.consumer c on c.stream is not null or c.is_releasing
