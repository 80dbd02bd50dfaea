-- Dead messages by consumer, topic and what is wrong, of the newest 100000.
select json_build_object(
  'consumer', g.consumer, 'topic', g.topic, 'failure', g.class, 'messages', g.messages, 'since', g.since, 'example', g.example)::text
from (
  select coalesce(c.name, '-') as consumer, o.topic, avouch.failure_class(coalesce(r.reason, o.reason, '')) as class, count(*) as messages,
         min(o.created_at) as since, (array_agg(o.id order by o.seq desc))[1] as example
  from (select q.id, q.seq, q.topic, q.reason, q.created_at from avouch.outbox q where q.state = 'dead' order by q.seq desc limit 100000) o
  left join avouch.recovery r on r.message_id = o.id and r.state is not distinct from 'dead'
  left join avouch.consumer c on c.id = r.consumer
  group by 1, 2, 3
  order by 4 desc, 1, 2, 3
  limit 200
) g
