-- One transaction. $1 id.
select t.state, t.checker, t.ref, (extract(epoch from clock_timestamp() - t.created_at) * 1000)::bigint as age_ms,
       t.checks, t.verdict, t.reason, t.messages
from avouch.tx t
where t.id = $1::uuid
