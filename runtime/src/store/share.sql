-- What this instance owns, and among how many: the living ones, of which so many are older; and when the first lease of another owner
-- ends that is not renewed by then.
-- $1 id.
select (select count(*) from avouch.shard) as shards,
       (select count(*) from avouch.instance where lease_until > clock_timestamp()) as alive,
       (select case when is_called then last_value else 0 end from avouch.outbox_seq) as last_seq,
       array(select shard from avouch.shard where owner = $1 order by shard) as owned,
       array(select epoch from avouch.shard where owner = $1 order by shard) as epochs,
       (select count(*) from avouch.instance where lease_until > clock_timestamp() and id < $1) as older,
       (select ceil(extract(epoch from min(i.lease_until) - clock_timestamp()) * 1000)::bigint
        from avouch.instance i
        where i.id <> $1 and i.lease_until > clock_timestamp()
          and exists (select from avouch.shard s where s.owner = i.id)) as next_end_ms
