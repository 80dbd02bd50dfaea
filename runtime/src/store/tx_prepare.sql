-- A transaction in doubt and its messages, in one go; a repeat makes neither. Returns whether this request made it.
-- $1 id, $2 checker, $3 ms until the checker is asked, $4 ref; then its messages side by side: $5 topics, $6 keys, $7 payloads,
-- $8 payloads of bytes, $9 headers as JSON, $10 not_before, $11 release_on, $12 dedup_keys.
with made as (
  insert into avouch.tx (id, checker, ref, check_at)
  values ($1::uuid, $2::text, $4::text, clock_timestamp() + $3::bigint * interval '1 millisecond')
  on conflict (id) do nothing
  returning id
), held as (
  insert into avouch.outbox (tx_id, topic, key, payload, payload_bytes, headers, not_before, release_on, dedup_key)
  select made.id, m.topic, m.key, m.payload, m.payload_bytes, m.headers::jsonb, m.not_before, m.release_on, m.dedup_key
  from made
  cross join unnest($5::text[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::timestamptz[], $11::text[], $12::text[])
    with ordinality as m (topic, key, payload, payload_bytes, headers, not_before, release_on, dedup_key, place)
  order by m.place
)
select exists (select from made)
