-- Tells an endpoint one message that means nothing, once: under the topic avouch.ping. No row: there is no endpoint that is enabled. $1 who, $2 why,
-- $3 the endpoint.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
), made as (
  insert into avouch.notice (message_id, topic, payload, created_at)
  select avouch.uuid_v7(), 'avouch.ping', convert_to('{"type":"avouch.ping"}', 'UTF8'), clock_timestamp()
  from avouch.endpoint e, said
  where e.name = $3::text and e.state = 'enabled' and said.why is not null
  returning message_id
), sent as (
  -- It is the last of its tries, in round 0: nobody is woken if it fails, it is no trouble, and it is sent again only by its own id.
  insert into avouch.delivery (endpoint, message_id, attempts, rounds, told)
  select e.id, made.message_id, coalesce(jsonb_array_length(e.settings -> 'schedule_s'), 0), 0, true
  from made, avouch.endpoint e
  where e.name = $3
), noted as (
  insert into avouch.audit (actor, action, subject, why) select said.who, 'ping endpoint', $3, nullif(said.why, '') from said, made
)
select made.message_id from made
