-- How it went. $1 the last so many minutes.
select row_to_json(s)::text
from avouch.sample s
where s.at > now() - $1::int * interval '1 minute'
order by s.at
