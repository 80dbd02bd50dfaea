-- Tries to tell a message, the last first. $1 the message, $2 the endpoint or null, $3 most rows.
select json_build_object(
  'endpoint', e.name, 'message_id', a.message_id, 'round', a.round, 'number', a.number, 'at', a.at, 'took_ms', a.took_ms,
  'outcome', a.outcome, 'status', a.status, 'reason', a.reason, 'excerpt', a.excerpt, 'plugin', a.plugin)::text
from avouch.attempt a
join avouch.endpoint e on e.id = a.endpoint
where a.message_id = $1 and ($2::text is null or e.name = $2)
order by a.id desc
limit $3
