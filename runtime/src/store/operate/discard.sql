-- Discards messages. $1 who, $2 why, $3 ids.
with said as materialized (
  -- For the audit; what follows refers to it, so that it comes first.
  select set_config('avouch.actor', $1::text, true) as who, set_config('avouch.why', coalesce($2::text, ''), true) as why
)
select t.id from said cross join unnest($3::uuid[]) as t (id) where case when said.why is not null then avouch.discard(t.id, $2) end
