-- What the tables say of runtimes, consumers, transactions, messages and outside parties. Counts stop at 10001.
select json_build_object(
  'shards', (select count(*) from avouch.shard),
  'shards_without_owner', (
    select count(*) from avouch.shard s where not exists (
      select from avouch.instance i where i.id = s.owner and i.lease_until > clock_timestamp())
  ),
  'instances', (
    select coalesce(json_agg(json_build_object(
      'name', i.name, 'lease_s', extract(epoch from i.lease_until - clock_timestamp()),
      'shards', (select count(*) from avouch.shard s where s.owner = i.id), 'trouble', i.trouble
    ) order by i.started_at), '[]')
    from avouch.instance i
  ),
  'holds', (
    select coalesce(json_agg(json_build_object(
      'kind', h.kind, 'name', h.name, 'message_id', h.message_id, 'reason', h.reason,
      'seconds', extract(epoch from clock_timestamp() - h.created_at)
    ) order by h.created_at), '[]')
    -- Consumers first: who is paused in the broker is compared with them.
    from (select o.* from avouch.hold o order by o.kind <> 'consumer', o.created_at limit 20) h
  ),
  'dead', (select count(*) from (select from avouch.outbox o where o.state = 'dead' limit 10001) x),
  'in_doubt', (select count(*) from (select from avouch.tx t where t.state = 'in_doubt' limit 10001) x),
  'checkers', (
    select coalesce(json_agg(json_build_object('name', c.checker, 'transactions', c.transactions)), '[]')
    from (
      select t.checker, count(*) as transactions
      from (select x.checker from avouch.tx x where x.state = 'prepared' limit 10001) t group by t.checker
    ) c
  ),
  'consumers', (
    select coalesce(json_agg(json_build_object(
      'name', c.name, 'stream', c.stream, 'is_required', c.is_required, 'has_started', c.start_seq is not null
    ) order by c.name), '[]')
    from avouch.consumer c
  ),
  -- Of the newest messages: their ids grow with time.
  'topics', (
    select coalesce(json_agg(distinct n.topic), '[]')
    from (select o.topic from avouch.outbox o order by o.id desc limit 1000) n
  ),
  'streams', (
    select coalesce(json_agg(json_build_object(
      'name', s.name, 'created_us', (extract(epoch from s.incarnation) * 1000000)::bigint
    )), '[]')
    from (select distinct on (x.name) x.name, x.incarnation from avouch.stream x order by x.name, x.id desc) s
  ),
  -- As in status.sql.
  'endpoints', (
    select coalesce(json_agg(json_build_object(
      'name', t.name, 'is_enabled', t.state = 'enabled', 'reason', t.reason,
      'failing_s', extract(epoch from clock_timestamp() - t.failing_since), 'given_up', t.given_up
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
  ),
  'shapers', (
    select coalesce(json_agg(json_build_object('plugin', s.plugin, 'endpoints', s.endpoints, 'endpoint', s.endpoint)), '[]')
    from (
      select e.settings->>'plugin' as plugin, count(*) as endpoints, min(e.name) as endpoint
      from avouch.endpoint e
      where e.state = 'enabled' and e.origin = 'api' and e.settings->>'plugin' is not null
      group by 1
    ) s
  )
)::text
