-- Renews this instance's lease, by the database's clock, and reports on it. Made if it is new.
-- $1 id, $2 name, $3 version, $4 lease in ms, $5 sent in all, $6 sent a second, $7 inserted a second, $8 trouble or null,
-- $9 receipts in all, $10 receipts a second.
insert into avouch.instance (id, name, version, lease_until, sent_total, sent_per_s, inserted_per_s, trouble, received_total, received_per_s)
values ($1, $2, $3, clock_timestamp() + $4::bigint * interval '1 ms', $5, $6, $7, $8, $9, $10)
on conflict (id) do update
set lease_until = excluded.lease_until, sent_total = excluded.sent_total, sent_per_s = excluded.sent_per_s,
    inserted_per_s = excluded.inserted_per_s, trouble = excluded.trouble, received_total = excluded.received_total,
    received_per_s = excluded.received_per_s
