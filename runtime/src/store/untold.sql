-- Transactions that a person must decide and that nobody was told of: this instance tells, the oldest first. $1 most rows.
with told as (
  update avouch.tx t
  set alarmed_at = clock_timestamp()
  where t.state is not distinct from 'in_doubt' and t.id in (
    select u.id from avouch.tx u where u.state = 'in_doubt' and u.alarmed_at is null order by u.created_at limit $1 for update skip locked
  )
  returning t.id, t.checker, t.ref, t.reason, t.created_at
)
select id, checker, ref, reason from told order by created_at
