-- Of dead messages: whether they were counted. 'later': they died since; 'beyond': they stand behind the last one that was.
-- $1 ids, $2 when it was counted, $3 the last one, or null: all of them were counted.
select o.id,
       case when exists (select from avouch.event e where e.subject = o.id and e.what = 'dead' and e.at > $2::timestamptz) then 'later'
            when $3::uuid is not null and coalesce(o.seq < (select l.seq from avouch.outbox l where l.id = $3), true) then 'beyond'
            else 'counted' end
from unnest($1::uuid[]) with ordinality as asked (id, place)
cross join lateral (select q.id, q.seq from avouch.outbox q where q.id = asked.id limit 1) o
order by asked.place
