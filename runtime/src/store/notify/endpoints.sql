-- Who is told, and by which shard: all that are not removed, and the number of shards' remainder that stands for their owner.
select e.id, e.name, e.tenant, e.url, e.topics, e.filter::text, e.is_ordered, e.settings::text, e.origin, e.state = 'enabled',
       e.id % (select m.shards from avouch.meta m), e.failing_since is not null
from avouch.endpoint e
where e.state <> 'removed'
order by e.id
