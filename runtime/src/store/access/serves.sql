-- Whether this database can be served: it has the schema, and takes writes. $1, $2: the versions that are served, from and to
select m.version between $1::int and $2::int and not pg_is_in_recovery() from avouch.meta m
