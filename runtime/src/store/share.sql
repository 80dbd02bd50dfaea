-- What this instance owns, and what its fair share is: shards over living instances, rounded up.
-- $1 id.
select (select count(*) from avouch.shard) as shards,
       (select count(*) from avouch.instance where lease_until > clock_timestamp()) as alive,
       (select case when is_called then last_value else 0 end from avouch.outbox_seq) as last_seq,
       array(select shard from avouch.shard where owner = $1 order by shard) as owned,
       array(select epoch from avouch.shard where owner = $1 order by shard) as epochs
