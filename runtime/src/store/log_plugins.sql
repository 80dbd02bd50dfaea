-- Keeps what plugins said. $1 plugins, $2 digests, $3 transactions, $4 levels, $5 lines: five arrays side by side.
insert into avouch.plugin_log (plugin, digest, tx_id, level, line)
select * from unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::text[])
