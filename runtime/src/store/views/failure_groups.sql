-- Dead messages by consumer, topic and what is wrong, of the newest so many, the largest group first. $1 most messages.
-- They are grouped by what is wrong as it was said, but for its digits, before the class of it is found: a thousand timeouts cost one.
select json_build_object(
  'consumer', g.consumer, 'topic', g.topic, 'failure', g.class, 'messages', g.messages, 'since', g.since,
  'example', (select o.id from avouch.outbox o where o.state = 'dead' and o.seq = g.newest limit 1))::text
from (
  select coalesce(c.name, '-') as consumer, d.topic, avouch.failure_class(d.reason) as class, sum(d.messages)::bigint as messages,
         min(d.since) as since, max(d.newest) as newest
  from (
    select r.consumer, o.topic, translate(left(coalesce(r.reason, o.reason, ''), 300), '123456789', '000000000') as reason,
           count(*) as messages, min(o.created_at) as since, max(o.seq) as newest
    from (
      select q.id, q.seq, q.topic, q.reason, q.created_at from avouch.outbox q where q.state = 'dead' order by q.seq desc limit $1::bigint
    ) o
    left join avouch.recovery r on r.message_id = o.id and r.state is not distinct from 'dead'
    group by 1, 2, 3
  ) d
  left join avouch.consumer c on c.id = d.consumer
  group by 1, 2, 3
  order by 4 desc, 1, 2, 3
  limit 200
) g
order by g.messages desc, g.consumer, g.topic, g.class
