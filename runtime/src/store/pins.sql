-- What keeps old row versions from being removed for longer than this. $1 ms.
select p.holder, p.what, coalesce(extract(epoch from clock_timestamp() - p.since), 0)::bigint
from avouch.pins($1::bigint * interval '1 ms') p
