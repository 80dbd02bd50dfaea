-- Makes the configured consumers known, with what the configuration says of them. $1 names, $2 leases in ms, $3 what follows a
-- lease that ended, $4 most attempts, $5 first and $6 longest pauses in ms: six arrays side by side, by name.
insert into avouch.consumer as c (name, lease_ms, takeover, attempts_max, retry_first_ms, retry_max_ms)
select * from unnest($1::text[], $2::int[], $3::text[], $4::int[], $5::int[], $6::int[])
on conflict (name) do update
set lease_ms = excluded.lease_ms, takeover = excluded.takeover, attempts_max = excluded.attempts_max,
    retry_first_ms = excluded.retry_first_ms, retry_max_ms = excluded.retry_max_ms
where (c.lease_ms, c.takeover, c.attempts_max, c.retry_first_ms, c.retry_max_ms)
  is distinct from (excluded.lease_ms, excluded.takeover, excluded.attempts_max, excluded.retry_first_ms, excluded.retry_max_ms)
