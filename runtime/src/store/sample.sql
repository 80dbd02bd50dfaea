-- How it goes now, once in ten seconds whoever asks; what is older than a day is forgotten. Counts stop at 10001.
with ours as (
  select to_timestamp(floor(extract(epoch from clock_timestamp()) / 10) * 10) as at
), old as (
  delete from avouch.sample s where s.at < now() - interval '24 hours'
)
insert into avouch.sample (at, ready, waiting, dead, in_doubt, oldest_s, inserted_per_s, sent_per_s, received_per_s)
select ours.at,
  (select count(*) from (select from avouch.outbox where state = 'ready' and not_before is null limit 10001) x),
  (select count(*) from (select from avouch.outbox where awaiting is not null limit 10001) x),
  (select count(*) from (select from avouch.outbox where state = 'dead' limit 10001) x),
  (select count(*) from (select from avouch.tx where state = 'in_doubt' limit 10001) x),
  (
    select extract(epoch from clock_timestamp() - min(coalesce(o.released_at, o.created_at)))
    from avouch.shard s cross join lateral (
      select q.released_at, q.created_at from avouch.outbox q
      where q.shard = s.shard and q.state = 'ready' and q.not_before is null
      order by q.seq limit 1
    ) o
  ),
  i.inserted_per_s, i.sent_per_s, i.received_per_s
from ours cross join (
  -- Each instance sees all inserts, and sends its share.
  select coalesce(max(inserted_per_s), 0) as inserted_per_s, coalesce(sum(sent_per_s), 0) as sent_per_s, coalesce(sum(received_per_s), 0) as received_per_s
  from avouch.instance where lease_until > clock_timestamp()
) i
where not exists (select from avouch.sample s where s.at = ours.at)
on conflict do nothing
