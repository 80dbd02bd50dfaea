-- $1 the first number, $2 the one after the last, $3 how many rows there will be in all, $4 now
-- Rows of the last thirty days, the oldest first. What a row is follows from its number: what is left of it divided by 1000, and for
-- the newest ones that they are the newest. See Population::states.
insert into avouch.outbox
  (seq, id, created_at, sent_at, not_before, released_at, tx_id, stream, stream_seq, generation, state, topic, key, release_on, payload,
   payload_bytes, headers, dedup_key, reason, awaiting, received_by, received_at)
select
  n,
  (lpad(to_hex((extract(epoch from created_at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
  created_at,
  sent_at,
  case when kind = 'delayed' then $4 + make_interval(secs => 3600 + n % 86400) end,
  case when kind = 'plain' and m between 100 and 149 then created_at - interval '1 ms' end,
  case when kind in ('prepared', 'cancelled') or kind = 'plain' and m between 100 and 149 then md5('tx' || n)::uuid end,
  case when is_sent then 1 end,
  case when is_sent then n end,
  case when kind in ('dead at one', 'dead at other') then 3 else 0 end,
  case kind
    when 'backlog' then 'ready' when 'delayed' then 'ready' when 'prepared' then 'prepared' when 'refused' then 'dead'
    when 'dead at one' then 'dead' when 'dead at other' then 'dead' when 'discarded' then 'discarded' when 'cancelled' then 'cancelled'
    when 'awaited' then 'sent' when 'missed' then 'sent' when 'unawaited' then 'sent' else 'consumed'
  end,
  case when kind = 'unawaited' then (array['metrics.sampled', 'audit.logged'])[1 + n % 2]
       else (array['orders.created', 'orders.created', 'orders.created', 'orders.paid', 'orders.cancelled', 'payments.settled', 'payments.settled',
                   'payments.refunded', 'stock.reserved', 'stock.released', 'shipments.sent', 'shipments.delivered'])[1 + n % 12] end,
  case when m between 900 and 949 then null
       when m between 950 and 954 then '客户 ' || n * 7919 % 50000 || repeat(' · long', 30)
       else 'customer-' || n * 7919 % 50000 end,
  case when kind in ('prepared', 'cancelled') then 'commit' end,
  case when m <> 960 then
    format('{"id":%s,"customer":"customer-%s","total":%s.%s,"currency":"EUR","lines":[{"sku":"%s","count":%s}],"note":"%s"}',
      n, n * 7919 % 50000, n % 1000, 10 + n % 90, substr(hash, 20, 8), 1 + n % 9, repeat(hash, 3)) end,
  case when m = 960 then decode(repeat(hash, 8), 'hex') end,
  case when m between 200 and 299 then jsonb_build_object('traceparent', format('00-%s-%s-01', hash, substr(hash, 1, 16))) end,
  case when m between 300 and 309 then 'request-' || n end,
  case kind
    when 'refused' then format('maximum payload exceeded: %s bytes', 1048577 + n)
    when 'dead at one' then format('card of customer-%s was refused', n * 7919 % 50000)
    when 'dead at other' then 'no receipt after 3 generations'
    when 'discarded' then 'discarded by an operator' when 'cancelled' then 'rolled back' when 'prepared' then null
  end,
  case when kind = 'awaited' then case when n % 3 = 0 then array[1, 2] else array[1 + n::int % 2] end
       when kind = 'missed' then array[1 + n::int % 2]
       when kind = 'dead at one' then array[1] when kind = 'dead at other' then array[2] end,
  -- Whoever is not awaited any more has received it: both of what is consumed, the other one of what one lacks.
  case when kind = 'plain' then array[1 + n::int % 2, 2 - n::int % 2]
       when kind = 'missed' or kind = 'awaited' and n % 3 <> 0 then array[2 - n::int % 2]
       when kind = 'dead at one' then array[2] when kind = 'dead at other' then array[1] end,
  case when kind = 'plain' then array[sent_at + interval '20 ms', sent_at + interval '35 ms']
       when kind in ('missed', 'dead at one', 'dead at other') or kind = 'awaited' and n % 3 <> 0 then array[sent_at + interval '20 ms'] end
from (
  select *, case when is_sent then created_at + make_interval(secs => 0.005 + (n % 97) * 0.004) end as sent_at
  from (
  select *, kind in ('dead at one', 'dead at other', 'awaited', 'missed', 'unawaited', 'plain') as is_sent
  from (
    select n, n % 1000 as m, md5(n::text) as hash, $4::timestamptz - make_interval(secs => 2592000 * ($3::bigint - n)::float8 / $3) as created_at,
      case
        when n % 1000 >= 10 and n >= $3 - $3 / 500 then 'backlog'
        when n % 1000 >= 600 and n >= $3 - $3 / 100 then 'awaited'
        when n % 1000 between 10 and 69 then 'unawaited'
        else coalesce((array['refused', 'dead at one', 'dead at other', 'discarded', 'cancelled', 'prepared', 'delayed', 'missed', 'missed'])[1 + n % 1000],
                      'plain')
      end as kind
    from generate_series($1::bigint, $2::bigint - 1) n
  ) numbered
  ) described
) sent
order by n
