-- How far one look at transactions before an id goes; no row: to the last one. $1 before this id, $2 how many it looks at.
select t.id from avouch.tx t where t.id < $1 order by t.id desc offset $2::bigint - 1 limit 1
