-- Deletes records that changed last longer ago than they are kept, from a bounded part of the table: it is walked page by page,
-- again and again, so that no index is needed. Parked ones stay. $1 first page, $2 the page after the last one, $3 hours to keep.
with gone as (
  delete from avouch.inbox i
  where i.ctid >= format('(%s,0)', $1::bigint)::tid and i.ctid < format('(%s,0)', $2::bigint)::tid
    and i.state <> 'parked' and i.changed_at < clock_timestamp() - $3::bigint * interval '1 hour'
  returning 1
)
select (select count(*) from gone), pg_relation_size('avouch.inbox') / current_setting('block_size')::bigint
