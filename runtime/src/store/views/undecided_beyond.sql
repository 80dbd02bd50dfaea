-- Whether more transactions are undecided than one look at them holds. $1 checker or null, $2 how many it holds.
select exists (
  select from avouch.tx a where a.state = 'prepared' and ($1::text is null or a.checker = $1) order by a.checker, a.check_at offset $2::bigint limit 1
)
