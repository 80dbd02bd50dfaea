-- Messages without their payloads, in the order of their ids here. $1 ids.
select json_build_object(
  'id', o.id, 'topic', o.topic, 'key', o.key, 'state', o.state, 'generation', o.generation, 'created_at', o.created_at, 'not_before', o.not_before,
  'released_at', o.released_at, 'sent_at', o.sent_at, 'stream', (select s.name from avouch.stream s where s.id = o.stream), 'sequence', o.stream_seq,
  'tx_id', o.tx_id, 'release_on', o.release_on, 'dedup_key', o.dedup_key, 'reason', o.reason, 'shard', o.shard,
  'bytes', coalesce(octet_length(o.payload), octet_length(o.payload_bytes)), 'headers', o.headers,
  'held', (
    select case when h.message_id is null then format('%s %s is paused', h.kind, h.name) else format('its key is parked behind %s', h.message_id) end
           || coalesce(': ' || h.reason, '')
    from (
      (select t.* from avouch.hold t where t.kind = 'topic' and t.name = o.topic limit 1)
      union all
      (select k.* from avouch.hold k where k.kind = 'key' and k.name = o.key limit 1)
    ) h
    where o.state in ('ready', 'prepared')
    limit 1
  ),
  'waits_for', (
    select coalesce(json_agg(json_build_object(
      'consumer', c.name, 'state', coalesce(r.state, 'sent'), 'sequence', coalesce(r.stream_seq, o.stream_seq), 'tries', coalesce(r.tries, 0),
      'reason', r.reason) order by c.name), '[]')
    from avouch.consumer c
    left join lateral (
      select q.* from avouch.recovery q where q.message_id = o.id and q.consumer = c.id limit 1
    ) r on true
    where c.id = any (o.awaiting) or r.message_id is not null
  ),
  'received', (
    select coalesce(json_agg(json_build_object('consumer', coalesce(c.name, 'consumer ' || w.consumer), 'at', w.at) order by w.at), '[]')
    from unnest(o.received_by, o.received_at) as w (consumer, at)
    left join avouch.consumer c on c.id = w.consumer
  ))::text
from unnest($1::uuid[]) with ordinality as asked (id, place)
cross join lateral (select q.* from avouch.outbox q where q.id = asked.id limit 1) o
order by asked.place
