-- What keeps old row versions from being removed for longer than so many ms, which stand in for $1.
select coalesce(json_agg(json_build_object(
  'holder', p.holder, 'what', p.what, 'seconds', coalesce(extract(epoch from clock_timestamp() - p.since), 0)
)), '[]')::text
from avouch.pins($1 * interval '1 ms') p
