-- How it goes, as one JSON document. Counts stop at 10001, so that a big table costs no more than a small one.
select json_build_object(
  'ready', (select count(*) from (select from avouch.outbox where state = 'ready' and not_before is null limit 10001) x),
  'delayed', (select count(*) from (select from avouch.outbox where state = 'ready' and not_before is not null limit 10001) x),
  'prepared', (select count(*) from (select from avouch.outbox where state = 'prepared' limit 10001) x),
  'waiting', (select count(*) from (select from avouch.outbox where awaiting is not null limit 10001) x),
  'dead', (select count(*) from (select from avouch.outbox where state = 'dead' limit 10001) x),
  'in_doubt', (select count(*) from (select from avouch.tx where state = 'in_doubt' limit 10001) x),
  'oldest_unsent_s', (
    select extract(epoch from clock_timestamp() - min(coalesce(o.released_at, o.created_at)))
    from avouch.shard s cross join lateral (
      select q.released_at, q.created_at from avouch.outbox q
      where q.shard = s.shard and q.state = 'ready' and q.not_before is null
      order by q.seq limit 1
    ) o
  ),
  'shards', (select count(*) from avouch.shard),
  'shards_without_owner', (
    select count(*) from avouch.shard s where not exists (
      select from avouch.instance i where i.id = s.owner and i.lease_until > clock_timestamp())
  ),
  'instances', (
    select coalesce(json_agg(json_build_object(
      'name', i.name, 'version', i.version, 'lease_s', extract(epoch from i.lease_until - clock_timestamp()),
      'shards', (select coalesce(json_agg(s.shard order by s.shard), '[]') from avouch.shard s where s.owner = i.id),
      'sent_total', i.sent_total, 'sent_per_s', i.sent_per_s, 'inserted_per_s', i.inserted_per_s, 'received_per_s', i.received_per_s, 'trouble', i.trouble
    ) order by i.started_at), '[]')
    from avouch.instance i where i.lease_until > clock_timestamp() - interval '10 minutes'
  ),
  'losses', (
    select coalesce(json_agg(json_build_object(
      'stream', s.name, 'reason', l.reason, 'noticed_at', l.noticed_at, 'requeued', l.requeued,
      'shards_left', (select count(*) from avouch.shard h where h.requeued < l.id)
    ) order by l.id desc), '[]')
    from (select * from avouch.loss order by id desc limit 10) l join avouch.stream s on s.id = l.stream
  ),
  'holds', (
    select coalesce(json_agg(json_build_object('kind', h.kind, 'name', h.name, 'message_id', h.message_id, 'reason', h.reason, 'created_at', h.created_at)), '[]')
    from (select * from avouch.hold order by created_at desc limit 20) h
  ),
  -- What was given up and is nobody's concern any more cannot be sent away: after a week it is not told of any more.
  'endpoints', (
    select coalesce(json_agg(json_build_object(
      'name', t.name, 'state', t.state, 'reason', t.reason, 'failing_since', t.failing_since, 'given_up', t.given_up
    ) order by t.name), '[]')
    from (
      select e.name, e.state, e.reason, e.failing_since, g.given_up
      from avouch.endpoint e
      cross join lateral (
        select count(*) as given_up from (
          select from avouch.delivery d
          where d.endpoint = e.id and d.state = 'given_up' and d.ended_at > (select clock_timestamp() - interval '7 days')
            and d.rounds > 0
          limit 1001
        ) x
      ) g
      where e.state <> 'removed'
        and (e.state = 'disabled' or e.failing_since < clock_timestamp() - interval '5 minutes' or g.given_up > 0)
      order by e.name limit 20
    ) t
  )
)::text
