-- Renews this instance's lease, by the database's clock, and reports on it. Made if it is new.
-- $1 id, $2 name, $3 version, $4 lease in ms, $5 sent in all, $6 sent a second, $7 inserted a second, $8 trouble or null.
insert into avouch.instance (id, name, version, lease_until, sent_total, sent_per_s, inserted_per_s, trouble)
values ($1, $2, $3, clock_timestamp() + $4::bigint * interval '1 ms', $5, $6, $7, $8)
on conflict (id) do update
set lease_until = excluded.lease_until, sent_total = excluded.sent_total, sent_per_s = excluded.sent_per_s,
    inserted_per_s = excluded.inserted_per_s, trouble = excluded.trouble
