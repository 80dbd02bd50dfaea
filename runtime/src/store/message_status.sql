-- One message, without its payload, and how far each required consumer is with it, as JSON. $1 id.
select o.state, o.topic, o.key, s.name as stream, o.stream_seq, o.generation, o.created_at, o.reason,
       (select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
          'consumer', c.name, 'state', coalesce(r.state, 'sent'), 'sequence', coalesce(r.stream_seq, o.stream_seq),
          'sent_again', nullif(r.tries, 0), 'reason', r.reason)) order by c.name)
        from avouch.consumer c
        left join avouch.recovery r on r.message_id = o.id and r.consumer = c.id
        where c.id = any (o.awaiting) or r.message_id is not null)::text as waits_for
from avouch.outbox o left join avouch.stream s on s.id = o.stream
where o.id = $1::uuid
