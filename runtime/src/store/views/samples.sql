-- How it went, at about 360 points: counts are the greatest of what a point stands for, rates their mean. $1 the last so many minutes.
select json_build_object(
  'at', to_timestamp(q.point), 'ready', max(q.ready), 'waiting', max(q.waiting), 'dead', max(q.dead), 'in_doubt', max(q.in_doubt),
  'oldest_s', max(q.oldest_s), 'inserted_per_s', avg(q.inserted_per_s), 'sent_per_s', avg(q.sent_per_s),
  'received_per_s', avg(q.received_per_s))::text
from (
  select s.*, floor(extract(epoch from s.at) / greatest($1::int / 6, 10)) * greatest($1::int / 6, 10) as point
  from avouch.sample s
  where s.at > now() - $1::int * interval '1 minute'
) q
group by q.point
order by q.point
