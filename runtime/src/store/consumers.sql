-- Makes the configured consumers known, with what the configuration says of them. One without topics (and so without a stream) goes on
-- being waited for, if it was: `avouch consumer remove` ends that, audited. $1 a JSON array of objects, by name.
insert into avouch.consumer as c (
  name, lease_ms, takeover, attempts_max, retry_first_ms, retry_max_ms,
  stream, topics, is_required, receipt, trust_settled, deadline_ms, generations_max
)
select * from jsonb_to_recordset($1::text::jsonb) as given (
  name text, lease_ms int, takeover text, attempts_max int, retry_first_ms int, retry_max_ms int,
  stream text, topics text[], is_required boolean, receipt text, trust_settled boolean, deadline_ms int, generations_max int
)
on conflict (name) do update
set lease_ms = excluded.lease_ms, takeover = excluded.takeover, attempts_max = excluded.attempts_max,
    retry_first_ms = excluded.retry_first_ms, retry_max_ms = excluded.retry_max_ms,
    stream = coalesce(excluded.stream, c.stream),
    start_seq = case when c.stream = coalesce(excluded.stream, c.stream) then c.start_seq end,
    topics = case when excluded.stream is null then c.topics else excluded.topics end,
    is_required = case when excluded.stream is null then c.is_required else excluded.is_required end, receipt = excluded.receipt, trust_settled = excluded.trust_settled,
    deadline_ms = excluded.deadline_ms, generations_max = excluded.generations_max
where (c.lease_ms, c.takeover, c.attempts_max, c.retry_first_ms, c.retry_max_ms, c.stream, c.topics, c.is_required, c.receipt,
       c.trust_settled, c.deadline_ms, c.generations_max)
  is distinct from (excluded.lease_ms, excluded.takeover, excluded.attempts_max, excluded.retry_first_ms, excluded.retry_max_ms,
       excluded.stream, excluded.topics, excluded.is_required, excluded.receipt, excluded.trust_settled, excluded.deadline_ms,
       excluded.generations_max)
