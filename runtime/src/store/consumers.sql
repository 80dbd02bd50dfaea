-- Makes the configured consumers known, with what the configuration says of them. $1 a JSON array of objects, by name.
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
    retry_first_ms = excluded.retry_first_ms, retry_max_ms = excluded.retry_max_ms, stream = excluded.stream,
    start_seq = case when c.stream = excluded.stream then c.start_seq end, topics = excluded.topics,
    is_required = excluded.is_required, receipt = excluded.receipt, trust_settled = excluded.trust_settled,
    deadline_ms = excluded.deadline_ms, generations_max = excluded.generations_max
where (c.lease_ms, c.takeover, c.attempts_max, c.retry_first_ms, c.retry_max_ms, c.stream, c.topics, c.is_required, c.receipt,
       c.trust_settled, c.deadline_ms, c.generations_max)
  is distinct from (excluded.lease_ms, excluded.takeover, excluded.attempts_max, excluded.retry_first_ms, excluded.retry_max_ms,
       excluded.stream, excluded.topics, excluded.is_required, excluded.receipt, excluded.trust_settled, excluded.deadline_ms,
       excluded.generations_max)
