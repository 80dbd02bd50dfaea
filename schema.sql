-- Avouch's tables and functions: what services, consumers and operators touch in Postgres 14 to 18.
-- Install or upgrade: `avouch schema install`, or `psql -v ON_ERROR_STOP=1 -f schema.sql`. Running it again changes nothing.
-- The number of shards is fixed by the first install: `set avouch.shards = '32'` in the session before it (default 16).

begin;

do $$
begin
  if current_setting('server_version_num')::int < 140000 then
    raise exception 'avouch needs Postgres 14 or newer, this server is %', current_setting('server_version');
  end if;
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception 'avouch needs a UTF8 database, % is %', current_database(), current_setting('server_encoding')
      using hint = 'create the database with: create database ... encoding ''UTF8'' template template0';
  end if;
  -- Two installs at once wait for each other; a lock of the catalog would not cover the roles.
  perform pg_advisory_xact_lock(hashtext('avouch schema install'));
end $$;

-- -- Roles ------------------------------------------------------------------------------------------------------------
-- Group roles without login: grant them to the users of your services. They belong to the cluster, so they may exist.
do $$
declare
  missing text;
begin
  foreach missing in array array['avouch_producer', 'avouch_consumer', 'avouch_runtime', 'avouch_viewer'] loop
    if not exists (select from pg_roles where rolname = missing) then
      begin
        execute format('create role %I nologin', missing);
      exception when duplicate_object or unique_violation then
        null;  -- Another database of this cluster installed it at the same moment.
      end;
    end if;
  end loop;
end $$;

create schema if not exists avouch;
grant usage on schema avouch to avouch_producer, avouch_consumer, avouch_runtime, avouch_viewer;

-- -- Version ----------------------------------------------------------------------------------------------------------
create table if not exists avouch.meta (
  only_row boolean primary key default true constraint meta_one_row check (only_row),
  version  int not null,
  shards   int not null constraint meta_shards_range check (shards between 1 and 1024),
  id       uuid not null default gen_random_uuid(),  -- of this installation, among others that share a broker
  consumers int not null default 0            -- raised by each change of who must have a message, and by each loss: marks are checked
                                              -- against it
);

do $$
begin
  if exists (select from avouch.meta where version > 1) then
    raise exception 'the avouch schema here is version %, newer than this file (1)', (select version from avouch.meta)
      using hint = 'install with the newer avouch; an older one cannot take the schema back';
  end if;
  insert into avouch.meta (version, shards)
  values (1, coalesce(nullif(current_setting('avouch.shards', true), ''), '16')::int)
  on conflict do nothing;
end $$;

-- -- Small pure functions that defaults and rules call ----------------------------------------------------------------
-- Bodies in `return` form are bound when they are created: no search_path of a caller can change them, and they are inlined.

-- A UUIDv7: 48 bits of Unix milliseconds, then random bits. Never reissued, unlike a value of a sequence.
do $$
begin
  if current_setting('server_version_num')::int >= 180000 then
    execute 'create or replace function avouch.uuid_v7() returns uuid language sql volatile parallel safe return uuidv7()';
  else
    execute $f$
      create or replace function avouch.uuid_v7() returns uuid language sql volatile parallel safe
      return encode(
        set_bit(set_bit(
          overlay(uuid_send(gen_random_uuid())
            placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
          52, 1), 53, 1), 'hex')::uuid
    $f$;
  end if;
end $$;

-- The shard of a key; a message without a key is spread by its id.
do $$
begin
  execute format($f$
    create or replace function avouch.shard_of(key text, id uuid) returns int language sql immutable parallel safe
    return ((case when key is null then uuid_hash_extended(id, 0) else hashtextextended(key, 0) end & 1073741823) %% %s)::int
  $f$, (select shards from avouch.meta));
end $$;

-- True when every header name is an HTTP token and none is reserved for NATS, Avouch or CloudEvents.
create or replace function avouch.header_names_ok(headers jsonb) returns boolean
language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
  select not exists (
    select from jsonb_object_keys(headers) as name
    where name !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]{1,128}$' or name ~* '^(nats|avouch|ce)-'
  )
$$;

-- True when every header value is a string without control characters (a CR or LF would forge another header).
create or replace function avouch.header_values_ok(headers jsonb) returns boolean
language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
  select not exists (
    select from jsonb_each(headers) as header
    where jsonb_typeof(header.value) <> 'string' or (header.value #>> '{}') ~ '[\u0001-\u001f\u007f-\u009f]'
  )
$$;

-- Where a row is found by its id, its state is compared with "is not distinct from": with "=", a partial index on that state
-- would do too, and a plan that was made while the table was empty would go on walking all of it.

-- -- Transactions in doubt --------------------------------------------------------------------------------------------
create table if not exists avouch.tx (
  id         uuid primary key,
  checker    text not null constraint tx_checker_name check (checker ~ '^[A-Za-z0-9_.-]{1,100}$'),
  ref        text constraint tx_ref_length check (octet_length(ref) <= 1024),
  state      text not null default 'prepared'
             constraint tx_state_known check (state in ('prepared', 'committed', 'rolled_back', 'in_doubt')),
  messages   int not null default 0,          -- how many messages it holds or held
  check_at   timestamptz not null,            -- when the checker is asked, unless the producer has decided
  created_at timestamptz not null default clock_timestamp(),
  checking_since timestamptz not null default clock_timestamp(),  -- what bounds in-progress: recheck begins anew
  checks     int not null default 0,          -- how often its checker was asked
  checked_by text,                            -- the plugin version that answered last: its file's SHA-256
  unknowns   int not null default 0,          -- how many of the answers were unknown
  verdict    text,                            -- the last answer that did not decide, or the fault that gave none
  decided_at timestamptz,
  decided_by text,                            -- producer, checker or operator
  alarmed_at timestamptz,                     -- when it was told that a person must decide; null: not yet
  reason     text
);
-- By checker, so that one with many due transactions never hides another's.
create index if not exists tx_due on avouch.tx (checker, check_at) where state = 'prepared';
create index if not exists tx_untold on avouch.tx (created_at) where state = 'in_doubt' and alarmed_at is null;
-- For people, who see the newest first: by id, which tells its age.
create index if not exists tx_doubts on avouch.tx (id) where state = 'in_doubt';
drop index if exists avouch.tx_in_doubt;

-- -- The outbox -------------------------------------------------------------------------------------------------------
-- Its rules for rows are in avouch.admit below.
create table if not exists avouch.outbox (
  -- The transaction that made the row what it is. Before seq, so that a transaction has its id before it takes a seq: the
  -- relay tells by this which rows may still appear below what it has read.
  xact          xid8 not null default pg_current_xact_id(),
  seq           bigint generated by default as identity (sequence name avouch.outbox_seq),
  created_at    timestamptz not null default clock_timestamp(),
  stream_seq    bigint,                       -- where JetStream keeps it, from the PubAck
  sent_at       timestamptz,
  not_before    timestamptz,                  -- cleared when the time has come
  released_at   timestamptz,                  -- when a transaction or a delay let it go
  id            uuid not null default avouch.uuid_v7(),
  tx_id         uuid,                         -- avouch.tx, checked by avouch.admit
  shard         int not null generated always as (avouch.shard_of(key, id)) stored,
  stream        int,                          -- avouch.stream
  generation    int not null default 0,       -- how many times it was deliberately sent again
  state         text not null default 'ready',
  topic         text not null,
  key           text,
  release_on    text,
  payload       text,
  payload_bytes bytea,
  headers       jsonb,
  dedup_key     text,
  reason        text,                         -- why it is dead, discarded or cancelled
  awaiting      int[],                        -- required consumers without a receipt, set when it is sent; null: nobody
  received_by   int[],                        -- consumers whose receipts are in, and
  received_at   timestamptz[],                -- since when, side by side
  -- Each row is updated at least once: its second version finds room beside the first, without a page split.
  constraint outbox_pkey primary key (id) with (fillfactor = 50)
);
-- What the relay reads: rows leave this index when they are sent, so it stays as small as the backlog.
create index if not exists outbox_ready on avouch.outbox (shard, seq) where state = 'ready' and not_before is null;
create index if not exists outbox_not_before on avouch.outbox (not_before, id) where state = 'ready' and not_before is not null;
drop index if exists avouch.outbox_delayed;
create index if not exists outbox_prepared on avouch.outbox (tx_id, seq) where state = 'prepared';
create index if not exists outbox_dead on avouch.outbox (seq) where state = 'dead';
-- What consumers have not finished: by the place that the broker and its consumers speak of.
create index if not exists outbox_awaited on avouch.outbox (stream, stream_seq) where awaiting is not null;
-- For people who look for a key: by a hash, because keys may be long, and newest first. What is ready is found by its shard, so that
-- an insert does not pay for it.
create index if not exists outbox_key on avouch.outbox (hashtext(key), id) where key is not null and state <> 'ready';
-- An outbox lives by its youngest rows: look at it often, so that dead index entries never pile up at the head.
alter table avouch.outbox set (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1
);

-- dedup_key is unique per topic while its message is retained. It stands apart so that the outbox can be partitioned.
create table if not exists avouch.dedup (
  topic      text not null,
  dedup_key  text not null,
  message_id uuid not null,
  constraint dedup_key_unique_per_topic primary key (topic, dedup_key)
);
create index if not exists dedup_message on avouch.dedup (message_id);

-- -- Consumers --------------------------------------------------------------------------------------------------------
-- Those of the configuration, under a short name for the records below. A row outlives its section in the file.
create table if not exists avouch.consumer (
  id             int generated always as identity primary key,
  name           text not null constraint consumer_name check (name ~ '^[A-Za-z0-9_-]{1,64}$') constraint consumer_name_unique unique,
  lease_ms       int not null,                -- how long a token holds
  takeover       text not null                -- what follows a lease that ended without a word
                 constraint consumer_takeover_known check (takeover in ('rerun', 'park')),
  attempts_max   int not null,
  retry_first_ms int not null,                -- the first pause after a failure; it doubles
  retry_max_ms   int not null,
  stream         text,                        -- where its durable is; null: it has none
  topics         text[] not null default '{}',  -- as in subjects: orders.created, payments.*, stock.>
  is_required    boolean not null default false,  -- messages of these topics wait for its receipt
  receipt        text not null default 'ack'  -- what counts as one
                 constraint consumer_receipt_known check (receipt in ('inbox', 'ack')),
  trust_settled  boolean not null default false,  -- what the broker has settled counts, though nobody saw the ack
  deadline_ms    int not null default 60000,  -- a receipt is missed no sooner than this after the message was sent
  generations_max int not null default 3,     -- how often a message is sent again because of it
  start_seq      bigint,                      -- of its stream: nothing before it is required
  changed_at     timestamptz not null default clock_timestamp(),  -- when it was last made or unmade to be waited for
  is_releasing   boolean not null default true,  -- what must not wait for it any more is being looked for
  created_at     timestamptz not null default clock_timestamp()
);

-- Receipts that are not known by a place in the stream: what the gate answered about other messages of a key, and what consumers
-- confirmed. A queue: each is applied within a second, and then deleted.
create table if not exists avouch.receipt (
  id         bigint generated always as identity primary key,
  consumer   int not null,
  message_id uuid not null,
  dead       text,                            -- why it will never be done; null: it is done
  created_at timestamptz not null default clock_timestamp()
);

-- What is done about a message that one consumer lacks, or has given up; and, as consumer 0, about one that was never sent.
create table if not exists avouch.recovery (
  message_id uuid not null,
  consumer   int not null,
  state      text not null                    -- pending: to be sent again, to this consumer alone; sent; dead
             constraint recovery_state_known check (state in ('pending', 'sent', 'dead')),
  generation int not null default 0,          -- the message's, for Nats-Msg-Id
  tries      int not null default 0,          -- how often it was sent again; losses of the broker are not counted
  reason     text,
  stream     int,                             -- avouch.stream, once it is sent
  stream_seq bigint,
  told       boolean not null default false,  -- dead, and programs know it
  changed_at timestamptz not null default clock_timestamp(),
  constraint recovery_pkey primary key (message_id, consumer)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);
create index if not exists recovery_pending on avouch.recovery (changed_at) where state = 'pending';
create index if not exists recovery_sent on avouch.recovery (consumer, stream, stream_seq) where state = 'sent';
create index if not exists recovery_dead on avouch.recovery (consumer, changed_at) where state = 'dead';
create index if not exists recovery_untold on avouch.recovery (changed_at) where state = 'dead' and not told;

-- Tokens grow over all records: a store that keeps the greatest one that it saw refuses whoever was overtaken.
create sequence if not exists avouch.inbox_token as bigint cache 1;

-- What each consumer did: one record a key, which is the message's id unless a plugin says what makes two messages the same.
-- Every change is guarded by the revision, or the token, that it expects.
create table if not exists avouch.inbox (
  consumer    int not null,                   -- avouch.consumer
  key         text not null constraint inbox_key_length check (octet_length(key) between 1 and 512),
  state       text not null
              constraint inbox_state_known check (state in ('running', 'waiting', 'done', 'rejected', 'parked')),
  revision    int not null default 0,         -- counts changes
  attempts    int not null default 1,         -- how often somebody was told to run
  token       bigint not null default nextval('avouch.inbox_token'),
  until       timestamptz,                    -- running: the lease; waiting: when to try again
  version     bigint,                         -- of the thing that the message is about, if a plugin tells
  fingerprint text constraint inbox_fingerprint_length check (octet_length(fingerprint) <= 128),
  message_id  uuid,                           -- whose processing it records
  result      text,                           -- what the consumer gave, for whoever asks again
  reason      text,
  created_at  timestamptz not null default clock_timestamp(),
  changed_at  timestamptz not null default clock_timestamp(),
  -- Each record changes once at least: its second version finds room beside the first.
  constraint inbox_pkey primary key (consumer, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
        autovacuum_vacuum_cost_delay = 1);

-- Where a plugin says what makes two messages the same, the record of a message is found by this. None of its columns changes while a
-- message is worked on, so that updates stay in their page.
create index if not exists inbox_of_message on avouch.inbox (message_id) where key <> message_id::text;

-- -- Notifications ----------------------------------------------------------------------------------------------------
-- Outside parties that are told by HTTP. Those of the configuration, under a short name for the records below, and those made over the
-- API. A row outlives its section in the file.
create table if not exists avouch.endpoint (
  id         int generated always as identity primary key,
  name       text not null constraint endpoint_name check (name ~ '^[A-Za-z0-9_-]{1,64}$') constraint endpoint_name_unique unique,
  tenant     text not null default '' constraint endpoint_tenant_length check (octet_length(tenant) <= 128),  -- a label
  url        text not null constraint endpoint_url_length check (octet_length(url) <= 2048),
  topics     text[] not null,                 -- as in subjects: orders.created, payments.*, stock.>
  filter     jsonb not null default '{}',     -- header names in lower case, and the values that messages must have there
  is_ordered boolean not null default false,  -- messages of one key are told one after the other
  settings   jsonb not null,                  -- schedule, limits, plugin: what only the sender reads
  origin     text not null constraint endpoint_origin_known check (origin in ('file', 'api')),
  state      text not null default 'enabled'
             constraint endpoint_state_known check (state in ('enabled', 'disabled', 'removed')),
  reason     text,                            -- why it is disabled
  failing_since timestamptz,                  -- since the first failure that no success has followed
  told       boolean not null default true,   -- that it was disabled by an answer
  created_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp()
);

-- What signs, and what is sent along, for endpoints that were made over the API; those of the file stand there. Nobody but the runtime
-- reads it.
create table if not exists avouch.endpoint_secret (
  id         bigint generated always as identity primary key,
  endpoint   int not null references avouch.endpoint on delete cascade,
  kind       text not null constraint endpoint_secret_kind_known check (kind in ('signature', 'header')),
  name       text,                            -- of a header
  value      text not null,                   -- whsec_... or whsk_... of a signature
  created_at timestamptz not null default clock_timestamp(),
  ends_at    timestamptz                      -- it was replaced: until then both sign
);
create index if not exists endpoint_secret_of on avouch.endpoint_secret (endpoint);

-- What a receiver shows to ask what it was sent. Only a digest is kept.
create table if not exists avouch.endpoint_token (
  id         bigint generated always as identity primary key,
  endpoint   int not null references avouch.endpoint on delete cascade,
  hash       bytea not null constraint endpoint_token_once unique,  -- SHA-256
  created_by text not null,
  created_at timestamptz not null default clock_timestamp(),
  ends_at    timestamptz,
  revoked_at timestamptz
);
create index if not exists endpoint_token_of on avouch.endpoint_token (endpoint);

-- What is told: a message that has endpoints, kept for as long as they may ask, longer than the outbox keeps it.
create table if not exists avouch.notice (
  message_id  uuid primary key,
  topic       text not null,
  key         text,
  payload     bytea not null,
  headers     jsonb,
  created_at  timestamptz not null,
  recorded_at timestamptz not null default clock_timestamp()
);
create index if not exists notice_key on avouch.notice (topic, key, message_id) where key is not null;

-- To whom, and how far that is. Every change of a waiting one is guarded by the attempts that it expects.
create table if not exists avouch.delivery (
  endpoint   int not null,                    -- avouch.endpoint
  message_id uuid not null,                   -- avouch.notice
  seq        bigint generated always as identity,  -- in the order of their arrival
  lane       text,                            -- the message's key, where the endpoint is told in order
  state      text not null default 'waiting'
             constraint delivery_state_known check (state in ('waiting', 'delivered', 'given_up')),
  attempts   int not null default 0,          -- of this round: a resend begins another one
  rounds     int not null default 1,          -- of the whole schedule; a ping begins with 0: nobody misses it
  next_at    timestamptz not null default clock_timestamp(),  -- waiting: when it is tried
  status     int,                             -- the last answer's
  reason     text,                            -- what came of the last attempt, unless it was delivered
  told       boolean not null default false,  -- given up, and people know it
  ended_at   timestamptz,
  constraint delivery_pkey primary key (endpoint, message_id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
        autovacuum_vacuum_cost_delay = 1);
create index if not exists delivery_due on avouch.delivery (endpoint, next_at) where state = 'waiting';
create index if not exists delivery_waiting on avouch.delivery (message_id) where state = 'waiting';
create index if not exists delivery_lane on avouch.delivery (endpoint, lane, seq) where state = 'waiting' and lane is not null;
create index if not exists delivery_message on avouch.delivery (message_id);
create index if not exists delivery_given_up on avouch.delivery (endpoint, ended_at) where state = 'given_up';
create index if not exists delivery_ended on avouch.delivery (ended_at) where state <> 'waiting';
create index if not exists delivery_untold on avouch.delivery (endpoint) where state = 'given_up' and not told;

-- Each try, as long as its delivery is kept.
create table if not exists avouch.attempt (
  id         bigint generated always as identity primary key,
  endpoint   int not null,
  message_id uuid not null,
  round      int not null,
  number     int not null,                    -- within its round, from 1 on
  at         timestamptz not null,            -- when it began
  took_ms    int not null,
  outcome    text not null constraint attempt_outcome_known check (outcome in ('delivered', 'retry', 'given_up', 'disabled', 'postponed')),
  status     int,                             -- null: no answer
  reason     text,
  excerpt    text,                            -- the beginning of the answer's body
  plugin     text                             -- the digest of the version that shaped it
);
create index if not exists attempt_of on avouch.attempt (message_id, endpoint, id);

-- -- What the runtime keeps -------------------------------------------------------------------------------------------
-- One row a running `avouch run`. The lease stands here, not in the shard rows, so that renewing it never waits for
-- the marks that lock those rows.
create table if not exists avouch.instance (
  id             uuid primary key,
  name           text not null,
  version        text not null,
  started_at     timestamptz not null default clock_timestamp(),
  lease_until    timestamptz not null,
  sent_total     bigint not null default 0,
  sent_per_s     double precision not null default 0,
  inserted_per_s double precision not null default 0,
  received_total bigint not null default 0,
  received_per_s double precision not null default 0,
  trouble        text                         -- what keeps it from sending, if anything
);

-- The owner of each hash bucket of keys. Every change of owner raises the epoch, which fences the former owner's marks.
create table if not exists avouch.shard (
  shard    int primary key,
  owner    uuid,
  epoch    bigint not null default 0,
  requeued int not null default 0             -- avouch.loss: up to here its messages that were lost are ready again
);
insert into avouch.shard (shard) select generate_series(0, shards - 1) from avouch.meta on conflict do nothing;

-- Streams that rows were sent to. A stream that was deleted and made again is another incarnation; so is one whose store fell back
-- to an earlier state: it gives its sequences a second time.
create table if not exists avouch.stream (
  id          int generated always as identity primary key,
  name        text not null,
  incarnation timestamptz not null,           -- the stream's creation time, as its broker tells it
  falls       int not null default 0,         -- how often it fell back
  constraint stream_incarnation unique (name, incarnation, falls)
);

-- How far messages have come in each stream, by the marks of each shard: a broker that has less than that has lost something.
create table if not exists avouch.reached (
  shard      int not null,
  stream     int not null,                    -- avouch.stream
  stream_seq bigint not null,
  message_id uuid not null,                   -- what stood there
  constraint reached_pkey primary key (shard, stream)
) with (fillfactor = 50);

-- What a broker had acknowledged and did not have any more.
create table if not exists avouch.loss (
  id         int generated always as identity primary key,
  stream     int not null,                    -- avouch.stream: what lost it, and is not used any more
  above      bigint not null,                 -- what stood above is lost
  successor  int not null,                    -- avouch.stream: what is there instead
  reason     text not null,
  noticed_at timestamptz not null default clock_timestamp(),
  requeued   bigint not null default 0        -- messages that are sent again
);

-- What is held: a paused topic, key or consumer, or a key parked behind its dead message.
create table if not exists avouch.hold (
  kind       text not null constraint hold_kind_known check (kind in ('topic', 'key', 'consumer')),
  name       text not null,
  message_id uuid,                            -- the dead message that parked the key; null: an operator's pause
  reason     text,
  created_at timestamptz not null default clock_timestamp(),
  constraint hold_once unique (kind, name, message_id)
);
create unique index if not exists hold_pause on avouch.hold (kind, name) where message_id is null;
create index if not exists hold_message on avouch.hold (message_id) where message_id is not null;

-- Who did what, and why. The runtime acts for people whom it knows by a token or a login: avouch.actor says who, avouch.why says why.
create table if not exists avouch.audit (
  id       bigint generated always as identity primary key,
  at       timestamptz not null default clock_timestamp(),
  actor    text not null default coalesce(nullif(current_setting('avouch.actor', true), ''), session_user),
  action   text not null,
  subject  text not null,
  detail   text,
  why      text default nullif(current_setting('avouch.why', true), '')
);

-- What happened to a message or a transaction, as far as its own row does not tell: that it was inserted, released, sent once and
-- received is told by timestamps there, so that the plain way costs nothing here. Written by the triggers note_message, note_recovery and
-- note_tx, whoever makes the move.
create table if not exists avouch.event (
  id       bigint generated always as identity primary key,
  at       timestamptz not null default clock_timestamp(),
  subject  uuid not null,                     -- a message or a transaction
  what     text not null,                     -- the state it came to, resent, or released_from: its last consumer is not waited for any more;
                                              -- of a consumer's recovery: missed, sent_again, dead; of its attempts: attempt_failed,
                                              -- attempt_lost; of a transaction also asked
  consumer int,                               -- avouch.consumer, if it is about one of them
  actor    text,                              -- the person who did it; null: nobody but Avouch
  detail   jsonb not null                     -- what is known of it; of what a person did also why
);
create index if not exists event_subject on avouch.event (subject, id);

-- How it went, every ten seconds, for a day.
create table if not exists avouch.sample (
  at             timestamptz primary key,
  ready          int not null,                -- these four are counted to 10001
  waiting        int not null,                -- sent, and not yet received
  dead           int not null,
  in_doubt       int not null,
  oldest_s       double precision,            -- age of the oldest message that may be sent and is not
  inserted_per_s double precision not null,
  sent_per_s     double precision not null,
  received_per_s double precision not null
);

-- -- Plugins ----------------------------------------------------------------------------------------------------------
-- Every version that was ever deployed, by the SHA-256 of its file.
create table if not exists avouch.plugin (
  name       text not null,
  digest     text not null constraint plugin_digest check (digest ~ '^[0-9a-f]{64}$'),
  version    text not null,                   -- the team's own
  file       bytea not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (name, digest)
);
alter table avouch.plugin alter column file set storage external;  -- WebAssembly hardly compresses, and is read whole
-- What plugins said, and why they gave no answer: of all instances, the newest lines, for `avouch plugin logs`.
create table if not exists avouch.plugin_log (
  id     bigint generated always as identity primary key,
  at     timestamptz not null default clock_timestamp(),
  plugin text not null,
  digest text,                                -- which version; none if there was none
  tx_id  uuid,                                -- what it was asked about
  level  text not null,                       -- debug to error; fault: it gave no answer
  line   text not null
);
create index if not exists plugin_log_of on avouch.plugin_log (plugin, id);
-- How often each version was called in each hour, for a month: told every ten seconds by each instance.
create table if not exists avouch.plugin_use (
  name        text not null,
  digest      text not null,
  hour        timestamptz not null,
  calls       bigint not null,
  errors      bigint not null,                -- of these: it said that it cannot tell
  faults      bigint not null,                -- of these: it trapped, ran into a limit, or gave no answer in time
  took_us     bigint not null,                -- all of them together
  took_max_us bigint not null,
  constraint plugin_use_pkey primary key (name, digest, hour)
);
-- Which version answers to a name: the last row. Rolling back adds a row with the version before.
create table if not exists avouch.deployment (
  id     bigint generated always as identity primary key,
  name   text not null,
  digest text,                                -- null: nobody answers to this name any more
  grants jsonb not null default '{}',         -- {"bindings": ["sql:orders"], "settings": {"grace_s": "30"}}
  at     timestamptz not null default clock_timestamp(),
  actor  text not null default coalesce(nullif(current_setting('avouch.actor', true), ''), session_user),
  constraint deployment_plugin foreign key (name, digest) references avouch.plugin (name, digest)
);
create index if not exists deployment_current on avouch.deployment (name, id);

-- -- Access -----------------------------------------------------------------------------------------------------------
-- Who may use the HTTP API and the console. Of each secret only its SHA-256 is here: it holds 256 random bits, so that nothing
-- slower is needed.
create table if not exists avouch.token (
  id           uuid primary key default avouch.uuid_v7(),
  hash         bytea not null constraint token_hash_unique unique constraint token_hash_length check (octet_length(hash) = 32),
  name         text not null constraint token_name_form check (name ~ '^[A-Za-z0-9_.@-]{1,64}$'),
  role         text not null constraint token_role_known check (role in ('view', 'operate', 'admin')),
  created_at   timestamptz not null default clock_timestamp(),
  created_by   text not null default session_user,
  expires_at   timestamptz,                   -- null: never
  last_used_at timestamptz,                   -- to the minute
  revoked_at   timestamptz
);
-- A name is who the audit says it was, so that it stands for one token at a time.
create unique index if not exists token_name on avouch.token (name) where revoked_at is null;

create table if not exists avouch.session (
  hash       bytea primary key constraint session_hash_length check (octet_length(hash) = 32),
  token_id   uuid constraint session_token references avouch.token on delete cascade,  -- null: a person of OpenID Connect
  who        text not null constraint session_who_length check (octet_length(who) <= 256),
  role       text not null constraint session_role_known check (role in ('view', 'operate', 'admin')),
  created_at timestamptz not null default clock_timestamp(),
  seen_at    timestamptz not null default clock_timestamp(),
  ends_at    timestamptz not null
);
create index if not exists session_of_token on avouch.session (token_id) where token_id is not null;
create index if not exists session_ends on avouch.session (ends_at);

-- -- Dead messages ----------------------------------------------------------------------------------------------------
-- What is the same failure: its reason without what differs from message to message. (Inlined: entering a function that has settings of
-- its own took four fifths of the time of a page of groups.)
create or replace function avouch.failure_class(reason text) returns text
language sql immutable strict parallel safe
return regexp_replace(regexp_replace(left(reason, 300), '[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}', '?', 'g'), '[0-9]+', '?', 'g');

-- Dead messages, one row for each consumer that they are dead for; consumer is null if the message was never sent. (A function and
-- no view, which would keep columns from being changed. Without settings of its own, so that it is inlined.)
create or replace function avouch.failures()
returns table (id uuid, topic text, key text, consumer text, consumer_id int, reason text, class text, created_at timestamptz, seq bigint)
language sql stable as $$
  select o.id, o.topic, o.key, c.name, coalesce(r.consumer, 0), coalesce(r.reason, o.reason, ''),
         avouch.failure_class(coalesce(r.reason, o.reason, '')), o.created_at, o.seq
  from avouch.outbox o
  left join avouch.recovery r on r.message_id = o.id and r.state = 'dead'
  left join avouch.consumer c on c.id = r.consumer
  where o.state = 'dead'
$$;

-- -- Triggers ---------------------------------------------------------------------------------------------------------
-- (Functions that look rows up set enable_seqscan = off: a session keeps the plan that it made when the table was empty.)
-- What a row must be. Clients see check violations (23514) with the name of the rule as the constraint, and what to do as the
-- hint. CHECK constraints would be parsed for every statement and evaluated again by every update of the runtime: a third
-- of an insert's cost (`producer_cost_ratio` in the bench). The trigger's condition lets the plain row pass without a call.
create or replace function avouch.refuse(rule text, what text, remedy text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'outbox row violates "%": %', rule, what
    using errcode = 'check_violation', hint = remedy, schema = 'avouch', table = 'outbox', constraint = rule;
end $$;

create or replace function avouch.admit() returns trigger language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
begin
  if new.state <> 'ready' or new.released_at is not null then
    return new;  -- Restored or replicated: it was admitted elsewhere. Producers may not write these columns.
  end if;
  if new.topic !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' then
    perform avouch.refuse('topic_tokens', format('topic %L', left(new.topic, 300)),
      'write tokens of letters, digits, - and _ with single dots between them: orders.created');
  elsif octet_length(new.topic) > 200 then
    perform avouch.refuse('topic_length', format('a topic of %s bytes', octet_length(new.topic)), 'at most 200 bytes');
  elsif octet_length(new.key) > 1024 then
    perform avouch.refuse('key_length', format('a key of %s bytes', octet_length(new.key)), 'at most 1024 bytes: use the aggregate''s id');
  elsif num_nonnulls(new.payload, new.payload_bytes) <> 1 then
    perform avouch.refuse('payload_exactly_one', 'both or neither of payload and payload_bytes', 'give exactly one of them');
  elsif octet_length(new.dedup_key) not between 1 and 512 then
    perform avouch.refuse('dedup_key_length', format('a dedup_key of %s bytes', octet_length(new.dedup_key)), 'from 1 to 512 bytes');
  elsif new.release_on is not null and new.tx_id is null then
    perform avouch.refuse('release_on_needs_tx', 'release_on without tx_id', 'give the id that avouch.prepare returned');
  elsif new.release_on not in ('commit', 'rollback') then
    perform avouch.refuse('release_on_known', format('release_on %L', new.release_on), 'write commit or rollback');
  elsif new.headers is not null then
    if jsonb_typeof(new.headers) <> 'object' then
      perform avouch.refuse('headers_object', format('headers of type %s', jsonb_typeof(new.headers)),
        'write a JSON object of strings: {"traceparent": "00-..."}');
    elsif not avouch.header_names_ok(new.headers) then
      perform avouch.refuse('headers_names', 'a header name', 'letters, digits and !#$%&''*+-.^_`|~; Nats-, Avouch- and ce- are reserved');
    elsif not avouch.header_values_ok(new.headers) then
      perform avouch.refuse('headers_values', 'a header value', 'strings without control characters');
    elsif octet_length(new.headers::text) > 16384 then
      perform avouch.refuse('headers_size', format('headers of %s bytes', octet_length(new.headers::text)), 'at most 16384 bytes');
    end if;
  end if;
  if new.tx_id is not null then
    -- Prepared, and refused unless its transaction still is. Counting it *updates* the transaction: whoever settles waits
    -- for this insert, and a settling in REPEATABLE READ that cannot see it fails with 40001 instead of stranding it.
    update avouch.tx set messages = messages + 1 where id = new.tx_id and state is not distinct from 'prepared';
    if not found then
      raise exception 'transaction % takes no more messages: it is %', new.tx_id,
        coalesce((select state from avouch.tx where id = new.tx_id), 'unknown')
        using errcode = 'object_not_in_prerequisite_state',
              hint = 'insert its messages after avouch.prepare and before avouch.commit or avouch.rollback';
    end if;
    new.state := 'prepared';
  end if;
  if new.dedup_key is not null then
    insert into avouch.dedup (topic, dedup_key, message_id) values (new.topic, new.dedup_key, new.id);
  end if;
  return new;
end $$;

-- The doorbell. An idle relay holds the exclusive advisory lock (this table, shard): refused means somebody sleeps, so
-- notify. Granted means the relay is awake or absent: no NOTIFY, and the shared lock, kept until this transaction has
-- ended, keeps the relay from falling asleep before it can see the row. Deferred: the lock is taken at commit only.
create or replace function avouch.doorbell() returns trigger language plpgsql as $$
begin
  if pg_catalog.current_setting('avouch.doorbell', true) is distinct from 'off'
     and not pg_catalog.pg_try_advisory_xact_lock_shared(tg_relid::int4, new.shard) then
    perform pg_catalog.pg_notify('avouch_doorbell', new.shard::text);
  end if;
  return null;
end $$;

create or replace function avouch.ring_holds() returns trigger language plpgsql as $$
begin
  perform pg_catalog.pg_notify('avouch_doorbell', 'holds');
  return null;
end $$;

-- `always`: they work under session_replication_role = replica too.
create or replace trigger admit before insert on avouch.outbox for each row
  when (not coalesce(
    new.topic ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' and octet_length(new.topic) <= 200
    and (new.key is null or octet_length(new.key) <= 1024) and (new.payload is null) <> (new.payload_bytes is null)
    and new.headers is null and new.tx_id is null and new.release_on is null and new.dedup_key is null, false))
  execute function avouch.admit();
alter table avouch.outbox enable always trigger admit;

do $$
begin
  if not exists (select from pg_trigger where tgrelid = 'avouch.outbox'::regclass and tgname = 'doorbell') then
    create constraint trigger doorbell after insert or update of seq on avouch.outbox
      deferrable initially deferred for each row when (new.state = 'ready') execute function avouch.doorbell();
  end if;
end $$;
alter table avouch.outbox enable always trigger doorbell;

create or replace function avouch.ring_deployments() returns trigger language plpgsql as $$
begin
  perform pg_catalog.pg_notify('avouch_doorbell', 'deployments');
  return null;
end $$;

create or replace trigger ring_deployments after insert on avouch.deployment for each statement
  execute function avouch.ring_deployments();

-- Who must have a message has changed: marks that were made without knowing it touch nothing, and the relays learn it.
create or replace function avouch.ring_consumers() returns trigger language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp as $$
begin
  new.changed_at := clock_timestamp();
  new.is_releasing := true;
  update avouch.meta set consumers = consumers + 1;
  perform pg_notify('avouch_doorbell', 'holds');
  return new;
end $$;

-- After: a before trigger would fire for what turns out to be an update.
create or replace trigger ring_new_consumer after insert on avouch.consumer for each row
  when (new.is_required) execute function avouch.ring_consumers();
create or replace trigger ring_consumer before update on avouch.consumer for each row
  when ((old.stream, old.topics, old.is_required) is distinct from (new.stream, new.topics, new.is_required))
  execute function avouch.ring_consumers();

create or replace trigger ring_holds after insert or delete on avouch.hold for each statement
  execute function avouch.ring_holds();

-- What the row does not tell by itself is written down. Their conditions let the plain moves pass without a call.
create or replace function avouch.actor() returns text language sql stable parallel safe
return nullif(current_setting('avouch.actor', true), '');

-- Why a person does it, unless that is the reason already; null where nobody acts.
create or replace function avouch.why(reason text) returns text language sql stable parallel safe
return case when avouch.actor() is not null then nullif(nullif(current_setting('avouch.why', true), ''), reason) end;

create or replace function avouch.note_message() returns trigger language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp as $$
declare
  -- Only avouch.resend lets a dead message go again; what lifts it by a receipt, or because a consumer is not waited for any more, takes
  -- somebody out of awaiting.
  is_resent boolean := old.state = 'dead' and (new.state = 'ready' or new.state = 'sent' and new.awaiting is not distinct from old.awaiting);
  is_released boolean := new.state = 'consumed' and new.received_by is not distinct from old.received_by;
begin
  insert into avouch.event (subject, what, consumer, actor, detail)
  values (new.id, case when is_resent then 'resent' when is_released then 'released_from' else new.state end,
    case when is_released then old.awaiting[1] end,
    case when is_resent then coalesce(avouch.actor(), session_user) else avouch.actor() end, jsonb_strip_nulls(jsonb_build_object(
    'from', old.state, 'generation', new.generation, 'reason', coalesce(new.reason, old.reason),
    'why', avouch.why(coalesce(new.reason, old.reason)),
    'stream', case when new.state = 'sent' then new.stream else old.stream end,
    'sequence', case when new.state = 'sent' then new.stream_seq else old.stream_seq end,
    'sent_at', case when new.state = 'ready' then old.sent_at end)));
  return null;
end $$;

create or replace trigger note_message after update on avouch.outbox for each row
  when (
    old.state <> new.state
      and not (new.state = 'consumed' and old.state = 'sent' and new.received_by is distinct from old.received_by)
      and not (new.state = 'ready' and old.state = 'prepared')
      and not (new.state = 'sent' and old.state = 'ready' and new.generation = 0)
    or old.generation <> new.generation and new.state = 'ready'
  )
  execute function avouch.note_message();

create or replace function avouch.note_recovery() returns trigger language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp as $$
begin
  insert into avouch.event (subject, what, consumer, actor, detail)
  values (new.message_id, case new.state when 'pending' then 'missed' when 'sent' then 'sent_again' else new.state end, new.consumer, avouch.actor(),
    jsonb_strip_nulls(jsonb_build_object('generation', new.generation, 'tries', new.tries, 'reason', new.reason, 'why', avouch.why(new.reason),
      'stream', new.stream, 'sequence', new.stream_seq)));
  return null;
end $$;

-- As consumer 0 it is about a message that was never sent: that is the message's own event.
create or replace trigger note_recovery after insert on avouch.recovery for each row
  when (new.consumer <> 0) execute function avouch.note_recovery();
create or replace trigger note_recovery_move after update on avouch.recovery for each row
  when (new.consumer <> 0 and old.state <> new.state) execute function avouch.note_recovery();

create or replace function avouch.note_tx() returns trigger language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp as $$
begin
  insert into avouch.event (subject, what, actor, detail)
  values (new.id, case when new.state = old.state then 'asked' else new.state end, avouch.actor(), jsonb_strip_nulls(jsonb_build_object(
    'verdict', case when new.state = old.state then new.verdict end, 'reason', case when new.state <> old.state then new.reason end,
    'why', avouch.why(new.reason),
    'by', case when new.state in ('committed', 'rolled_back') then new.decided_by end,
    'plugin', case when new.checks > 0 and new.decided_by is distinct from 'producer' and new.decided_by is distinct from 'operator' then new.checked_by end,
    'checks', new.checks, 'next', case when new.state = 'prepared' then new.check_at end)));
  return null;
end $$;

-- A producer that decides in time is told by the row. A claim, which counts a check, is no answer yet.
create or replace trigger note_tx after update on avouch.tx for each row
  when (
    old.state <> new.state and not (old.state = 'prepared' and new.decided_by is not distinct from 'producer' and new.checks = 0)
    or old.state = new.state and old.check_at <> new.check_at and old.checks = new.checks
  )
  execute function avouch.note_tx();

-- -- What producers call ----------------------------------------------------------------------------------------------
-- prepare: opens a transaction in doubt and returns its id. If nobody has decided after check_after, the checker (a
-- plugin) is asked. Repeating an id returns it: a retried prepare never makes a second transaction.
create or replace function avouch.prepare(checker text, check_after interval, ref text default null, id uuid default null)
returns uuid language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
  tx_id uuid := coalesce(prepare.id, avouch.uuid_v7());
  known avouch.tx;
begin
  if check_after is null or check_after < interval '0' then
    raise exception 'check_after must be zero or more, not %', coalesce(check_after::text, 'null')
      using errcode = 'invalid_parameter_value', hint = 'give the time after which the checker is asked: ''5 minutes''';
  end if;
  insert into avouch.tx (id, checker, ref, check_at)
  values (tx_id, prepare.checker, prepare.ref, clock_timestamp() + check_after)
  on conflict (id) do nothing;
  if not found then
    select * into known from avouch.tx t where t.id = tx_id;
    if known.checker is distinct from prepare.checker or known.ref is distinct from prepare.ref then
      raise exception 'transaction % is prepared already with another checker or ref', tx_id
        using errcode = 'unique_violation', hint = 'repeat a prepare with the same arguments, or take another id';
    end if;
  end if;
  return tx_id;
end $$;

-- Releases the messages of settled transactions: those for their outcome become ready with a new seq, in their order;
-- the others are cancelled. Its caller has just moved the transactions; this statement's snapshot is younger than that.
create or replace function avouch.release(tx_ids uuid[], outcome text)
returns void language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
begin
  with released as (
    select held.id, nextval('avouch.outbox_seq') as seq
    from (
      select o.id from avouch.outbox o
      where o.tx_id = any (tx_ids) and o.state = 'prepared' and coalesce(o.release_on, 'commit') = outcome
      order by o.seq
    ) held
  )
  update avouch.outbox o
  set state = 'ready', xact = pg_current_xact_id(), seq = released.seq, released_at = clock_timestamp()
  from released where o.id = released.id and o.state is not distinct from 'prepared';
  update avouch.outbox o set state = 'cancelled', reason = 'the transaction ended in ' || outcome
  where o.tx_id = any (tx_ids) and o.state = 'prepared';
end $$;

-- commit: the producer's word that the business action happened. Inside the business transaction, in this database, it
-- is the fence: after a rollback it raises, and so the business transaction aborts.
create or replace function avouch.commit(id uuid)
returns void language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  known text;
begin
  update avouch.tx t set state = 'committed', decided_at = clock_timestamp(), decided_by = 'producer', reason = null
  where t.id = commit.id and t.state in ('prepared', 'in_doubt');
  if found then
    perform avouch.release(array[commit.id], 'commit');
    return;
  end if;
  select t.state into known from avouch.tx t where t.id = commit.id;
  if known = 'committed' then
    return;
  end if;
  raise exception 'transaction % cannot be committed: it is %', commit.id, coalesce(known, 'unknown')
    using errcode = 'object_not_in_prerequisite_state',
          hint = 'the business action must not happen: let this database transaction abort';
end $$;

-- rollback: the producer's word that the business action did not happen.
create or replace function avouch.rollback(id uuid, reason text default null)
returns void language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  known text;
begin
  update avouch.tx t
  set state = 'rolled_back', decided_at = clock_timestamp(), decided_by = 'producer', reason = rollback.reason
  where t.id = rollback.id and t.state in ('prepared', 'in_doubt');
  if found then
    perform avouch.release(array[rollback.id], 'rollback');
    return;
  end if;
  select t.state into known from avouch.tx t where t.id = rollback.id;
  if known = 'rolled_back' then
    return;
  end if;
  raise exception 'transaction % cannot be rolled back: it is %', rollback.id, coalesce(known, 'unknown')
    using errcode = 'object_not_in_prerequisite_state',
          hint = 'its messages are on their way: compensate with a new message';
end $$;

-- report: the producer's word where the business transaction is elsewhere, in another database or service. Never raises for
-- a contradiction but keeps it: after the opposite verdict the transaction is in doubt, with the messages that were cancelled
-- held again, and a person decides. Returns the state that it is in now; null if there is no such transaction.
create or replace function avouch.report(id uuid, outcome text, reason text default null)
returns text language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  settled text := case outcome when 'commit' then 'committed' when 'rollback' then 'rolled_back' end;
  known text;
begin
  if settled is null then
    raise exception 'outcome must be commit or rollback, not %', coalesce(outcome, 'null') using errcode = 'invalid_parameter_value';
  end if;
  select t.state into known from avouch.tx t where t.id = report.id for update;
  if known is null or known = settled then
    return known;
  end if;
  if known in ('prepared', 'in_doubt') then
    update avouch.tx t set state = settled, decided_at = clock_timestamp(), decided_by = 'producer', reason = report.reason
    where t.id = report.id;
    perform avouch.release(array[report.id], outcome);
    return settled;
  end if;
  update avouch.tx t
  set state = 'in_doubt', alarmed_at = null,
      reason = format('the producer says %s, after it was %s by %s%s', outcome, known, t.decided_by, coalesce(': ' || report.reason, ''))
  where t.id = report.id;
  update avouch.outbox o set state = 'prepared', reason = null where o.tx_id = report.id and o.state = 'cancelled';
  return 'in_doubt';
end $$;

-- Settles what is still undecided, in one go: how a checker's verdicts and an operator's word are applied. A transaction whose
-- producer is deciding it right now is left alone, as is one that was decided. decided_by: checker (moves prepared ones) or
-- operator (moves those in doubt too); plugins: the versions that answered. Returns the ids that it settled.
drop function if exists avouch.settle(uuid[], text, text, text[]);
create or replace function avouch.settle(ids uuid[], outcome text, decided_by text, reasons text[], plugins text[] default null)
returns setof uuid language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  moved uuid[];
begin
  if outcome is null or outcome not in ('commit', 'rollback') then
    raise exception 'outcome % is neither commit nor rollback', coalesce(outcome, 'null') using errcode = 'invalid_parameter_value',
      constraint = 'tx_outcome_known', hint = 'write commit or rollback';
  end if;
  with free as (
    select t.id from avouch.tx t
    where t.id = any (settle.ids) and (t.state = 'prepared' or t.state = 'in_doubt' and settle.decided_by = 'operator')
    order by t.id
    for update skip locked
  ), settled as (
    update avouch.tx t
    set state = case outcome when 'commit' then 'committed' else 'rolled_back' end,
        decided_at = clock_timestamp(), decided_by = settle.decided_by, reason = said.reason, checked_by = coalesce(said.plugin, t.checked_by)
    from free join unnest(settle.ids, settle.reasons, settle.plugins) as said (id, reason, plugin) on said.id = free.id
    where t.id = free.id
    returning t.id
  )
  select array_agg(s.id) into moved from settled s;
  if moved is null then
    return;
  end if;
  -- A statement of its own, with a younger snapshot: an insert that the lock waited for is seen.
  perform avouch.release(moved, outcome);
  if settle.decided_by = 'operator' then
    insert into avouch.audit (action, subject, detail)
    select outcome || ' transaction', said.id::text, said.reason
    from unnest(settle.ids, settle.reasons) as said (id, reason) where said.id = any (moved);
  end if;
  return query select unnest(moved);
end $$;

-- Discards a message that was not sent yet, or is dead. Returns false if it is neither. (One that is in flight at this very
-- moment may still arrive.) Granted to operators; grant it to a producer that may discard any message.
create or replace function avouch.discard(id uuid, reason text default null)
returns boolean language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
begin
  update avouch.outbox o set state = 'discarded', reason = discard.reason, awaiting = null
  where o.id = discard.id and o.state in ('ready', 'prepared', 'dead');
  if not found then
    return false;
  end if;
  delete from avouch.hold h where h.message_id = discard.id;
  delete from avouch.recovery r where r.message_id = discard.id;
  insert into avouch.audit (action, subject, detail) values ('discard', discard.id::text, discard.reason);
  return true;
end $$;

-- -- What operators call ----------------------------------------------------------------------------------------------
-- Pauses a topic, a key or a consumer: messages wait, in order, until avouch.resume. Repeating it changes the reason.
create or replace function avouch.pause(kind text, name text, reason text default null)
returns void language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
begin
  insert into avouch.hold (kind, name, reason) values (pause.kind, pause.name, pause.reason)
  on conflict (kind, name) where message_id is null do update set reason = excluded.reason;
  insert into avouch.audit (action, subject, detail) values ('pause', pause.kind || ' ' || pause.name, pause.reason);
end $$;

-- Resumes a paused topic, key or consumer. A key parked behind a dead message goes on after avouch.resend or avouch.discard of it.
-- Returns false if it was not paused.
create or replace function avouch.resume(kind text, name text)
returns boolean language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
begin
  delete from avouch.hold h where h.kind = resume.kind and h.name = resume.name and h.message_id is null;
  if not found then
    return false;
  end if;
  insert into avouch.audit (action, subject) values ('resume', resume.kind || ' ' || resume.name);
  return true;
end $$;

-- Sends a dead message again, as the next generation: to the consumers for which it is dead, or, if it was never sent, at its
-- old place in the order of its key. Returns false if it is not dead.
create or replace function avouch.resend(id uuid)
returns boolean language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
begin
  update avouch.outbox o set state = 'sent', reason = null
  where o.id = resend.id and o.state is not distinct from 'dead' and o.awaiting is not null;
  if found then
    -- What a consumer's record holds against it is lifted: sending it again would be answered reject.
    update avouch.inbox i
    set state = 'waiting', revision = i.revision + 1, attempts = 0, until = clock_timestamp(), reason = null, changed_at = clock_timestamp()
    from (
      select r.consumer, k.key
      from avouch.recovery r
      cross join lateral (
        select resend.id::text as key
        union all
        select w.key from avouch.inbox w where w.message_id = resend.id and w.key <> w.message_id::text and w.consumer = r.consumer
      ) k
      where r.message_id = resend.id and r.state is not distinct from 'dead'
    ) found
    where i.consumer = found.consumer and i.key = found.key and i.state in ('rejected', 'parked');
    update avouch.recovery r set state = 'pending', tries = 0, changed_at = clock_timestamp()
    where r.message_id = resend.id and r.state is not distinct from 'dead';
    insert into avouch.audit (action, subject) values ('resend', resend.id::text);
    return true;
  end if;
  update avouch.outbox o
  set state = 'ready', xact = pg_current_xact_id(), generation = generation + 1, reason = null, released_at = clock_timestamp()
  where o.id = resend.id and o.state is not distinct from 'dead';
  if not found then
    return false;
  end if;
  delete from avouch.hold h where h.message_id = resend.id;
  delete from avouch.recovery r where r.message_id = resend.id;
  insert into avouch.audit (action, subject) values ('resend', resend.id::text);
  -- Its place is below what the relay still looks at, so the relay is told to look at everything.
  perform pg_notify('avouch_doorbell', 'rescan');
  return true;
end $$;

-- Sends these messages once more to one consumer alone: also what it has finished, not what is dead. Whoever asks the gate is told that it was done,
-- unless its record is forgotten (forget). Returns the ids that will be sent.
create or replace function avouch.replay(consumer text, ids uuid[], forget boolean default false)
returns setof uuid language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.consumer := avouch.consumer_of(replay.consumer);
begin
  if who.stream is null then
    raise exception 'consumer % has no topics: nothing can be sent to it', replay.consumer
      using errcode = 'object_not_in_prerequisite_state', constraint = 'consumer_has_topics',
            hint = 'give it topics in its section of the configuration';
  end if;
  if forget then
    delete from avouch.inbox i where i.consumer = who.id and i.key = any (ids::text[]) and i.state in ('done', 'rejected', 'parked');
    delete from avouch.inbox i
    where i.message_id = any (ids) and i.key <> i.message_id::text and i.consumer = who.id and i.state in ('done', 'rejected', 'parked');
  end if;
  return query
  with again as (
    update avouch.outbox o
    set state = case when who.is_required then 'sent' else o.state end,
        awaiting = case when not who.is_required or who.id = any (o.awaiting) then o.awaiting else coalesce(o.awaiting, '{}') || who.id end
    where o.id = any (ids) and o.stream is not null and o.state in ('sent', 'consumed')
    returning o.id
  ), asked as (
    insert into avouch.recovery (message_id, consumer, state, reason)
    select again.id, who.id, 'pending', 'replayed' from again
    on conflict on constraint recovery_pkey do update
    set state = 'pending', reason = 'replayed', tries = 0, changed_at = clock_timestamp()
  ), noted as (
    insert into avouch.audit (action, subject, detail) select 'replay', again.id::text, replay.consumer from again
  )
  select again.id from again;
end $$;

-- Nobody waits for this consumer any more: what waited for it alone is consumed, soon. Returns false if it was not waited for.
create or replace function avouch.remove_consumer(consumer text, reason text default null)
returns boolean language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp as $$
declare
  who avouch.consumer := avouch.consumer_of(remove_consumer.consumer);
begin
  update avouch.consumer c set stream = null, topics = '{}', is_required = false, start_seq = null
  where c.id = who.id and (c.stream is not null or c.is_required);
  if not found then
    return false;
  end if;
  insert into avouch.audit (action, subject, detail) values ('remove consumer', remove_consumer.consumer, remove_consumer.reason);
  return true;
end $$;

-- Asks the checker again about transactions in doubt, from the beginning. Returns the ids that it will be asked about.
create or replace function avouch.recheck(ids uuid[])
returns setof uuid language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
begin
  return query
  with again as (
    update avouch.tx t
    set state = 'prepared', check_at = clock_timestamp(), unknowns = 0, checking_since = clock_timestamp(), verdict = null, reason = null
    where t.id = any (ids) and t.state is not distinct from 'in_doubt'
    returning t.id
  ), noted as (
    insert into avouch.audit (action, subject) select 'recheck transaction', again.id::text from again
  )
  select again.id from again;
end $$;

-- -- Notifications: what operators call -------------------------------------------------------------------------------
-- The endpoint of this name.
create or replace function avouch.endpoint_of(endpoint text) returns avouch.endpoint language plpgsql stable as $$
declare
  who avouch.endpoint;
begin
  select * into who from avouch.endpoint e where e.name = endpoint_of.endpoint and e.state <> 'removed';
  if not found then
    raise exception 'there is no endpoint %', endpoint using errcode = 'undefined_object', constraint = 'endpoint_known',
      hint = 'avouch endpoint list tells which there are';
  end if;
  return who;
end $$;

-- Tells these messages once more, as another round of the schedule under the same webhook-id; at once. Of what still waits, the next try
-- is made now. Returns the ids that will be told.
create or replace function avouch.notify_again(endpoint text, ids uuid[])
returns setof uuid language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.endpoint := avouch.endpoint_of(notify_again.endpoint);
begin
  return query
  with again as (
    update avouch.delivery d
    set state = 'waiting', next_at = clock_timestamp(), ended_at = null, told = false,
        attempts = case when d.state = 'waiting' then d.attempts else 0 end,
        rounds = case when d.state = 'waiting' then d.rounds else d.rounds + 1 end
    where d.endpoint = who.id and d.message_id = any (ids)
    returning d.message_id
  ), noted as (
    insert into avouch.audit (action, subject, detail) select 'notify again', again.message_id::text, who.name from again
  )
  select again.message_id from again;
end $$;

-- Tells what was given up since then once more, oldest first: at most so many. Returns how many.
create or replace function avouch.notify_given_up_again(endpoint text, since timestamptz, rows_max int default 1000)
returns bigint language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.endpoint := avouch.endpoint_of(notify_given_up_again.endpoint);
  again bigint;
begin
  update avouch.delivery d
  set state = 'waiting', next_at = clock_timestamp(), ended_at = null, told = false, attempts = 0, rounds = d.rounds + 1
  from (
    select g.message_id from avouch.delivery g
    where g.endpoint = who.id and g.state = 'given_up' and g.ended_at >= notify_given_up_again.since and g.rounds > 0
    order by g.ended_at
    limit notify_given_up_again.rows_max
  ) chosen
  where d.endpoint = who.id and d.message_id = chosen.message_id and d.state is not distinct from 'given_up';
  get diagnostics again = row_count;
  if again > 0 then
    insert into avouch.audit (action, subject, detail)
    values ('notify given up again', who.name, format('%s since %s', again, notify_given_up_again.since));
  end if;
  return again;
end $$;

-- Enables or disables an endpoint: what waits for a disabled one stays, and is told when it is enabled again. Returns false if it is so
-- already.
create or replace function avouch.set_endpoint(endpoint text, state text, reason text default null)
returns boolean language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp as $$
declare
  who avouch.endpoint := avouch.endpoint_of(set_endpoint.endpoint);
begin
  if set_endpoint.state not in ('enabled', 'disabled') then
    raise exception 'an endpoint is enabled or disabled, not %', set_endpoint.state using errcode = 'invalid_parameter_value',
      constraint = 'endpoint_outcome_known', hint = 'to end it for good, remove it';
  end if;
  update avouch.endpoint e
  set state = set_endpoint.state, failing_since = null, changed_at = clock_timestamp(), told = true,
      reason = case when set_endpoint.state = 'disabled' then coalesce(set_endpoint.reason, 'disabled by an operator') end
  where e.id = who.id and e.state not in (set_endpoint.state, 'removed');
  if not found then
    return false;
  end if;
  insert into avouch.audit (action, subject, detail)
  values (case when set_endpoint.state = 'enabled' then 'enable endpoint' else 'disable endpoint' end, who.name, set_endpoint.reason);
  return true;
end $$;

-- Nothing is told to this endpoint any more: what waits for it is given up, soon. Its name stays taken. Returns false if it is removed
-- already.
create or replace function avouch.remove_endpoint(endpoint text, reason text default null)
returns boolean language plpgsql security definer
set search_path = pg_catalog, avouch, pg_temp as $$
declare
  who avouch.endpoint := avouch.endpoint_of(remove_endpoint.endpoint);
begin
  update avouch.endpoint e
  set state = 'removed', reason = coalesce(remove_endpoint.reason, 'removed by an operator'), changed_at = clock_timestamp(), told = true
  where e.id = who.id and e.state <> 'removed';
  if not found then
    return false;
  end if;
  delete from avouch.endpoint_secret s where s.endpoint = who.id;
  update avouch.endpoint_token t set revoked_at = clock_timestamp() where t.endpoint = who.id and t.revoked_at is null;
  insert into avouch.audit (action, subject, detail) values ('remove endpoint', who.name, remove_endpoint.reason);
  return true;
end $$;

-- -- The inbox --------------------------------------------------------------------------------------------------------
-- The consumer of this name.
create or replace function avouch.consumer_of(consumer text) returns avouch.consumer language plpgsql stable as $$
declare
  who avouch.consumer;
begin
  select * into who from avouch.consumer c where c.name = consumer_of.consumer;
  if not found then
    raise exception 'there is no consumer %', consumer using errcode = 'undefined_object', constraint = 'consumer_known',
      hint = format('add [consumer.%s] to the configuration of avouch run, and start it once', consumer);
  end if;
  return who;
end $$;

-- A receipt that is not found by the message's id in the inbox: it is recorded under another key, or its consumer has said so.
create or replace function avouch.tell(who avouch.consumer, key text, message_id uuid, dead text default null)
returns void language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp as $$
begin
  if who.is_required and message_id is not null and key is distinct from message_id::text then
    insert into avouch.receipt (consumer, message_id, dead) values (who.id, tell.message_id, left(tell.dead, 1000));
  end if;
end $$;

-- A receipt by message: it is done, or dead for this consumer, with the reason. Returns whether the consumer is waited for; null
-- if there is no such message.
create or replace function avouch.confirm(consumer text, id uuid, dead text default null)
returns boolean language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.consumer := avouch.consumer_of(confirm.consumer);
begin
  if not exists (select from avouch.outbox o where o.id = confirm.id) then
    return null;
  end if;
  perform avouch.tell(who, null, confirm.id, confirm.dead);
  return who.is_required;
end $$;

-- Once per consumer and message, in the consumer's own transaction: true if this transaction is to make the effect, which then
-- commits together with the record. Waits for a concurrent transaction that said so first. Another fingerprint than the one
-- recorded raises an error: two different things came under one id.
create or replace function avouch.inbox_once(consumer text, id uuid, fingerprint text default null)
returns boolean language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who int := (avouch.consumer_of(inbox_once.consumer)).id;
  seen avouch.inbox;
begin
  insert into avouch.inbox (consumer, key, state, message_id, fingerprint)
  values (who, inbox_once.id::text, 'done', inbox_once.id, inbox_once.fingerprint) on conflict do nothing;
  if found then
    return true;
  end if;
  select * into seen from avouch.inbox i where i.consumer = who and i.key = inbox_once.id::text for update;
  if seen.fingerprint <> inbox_once.fingerprint then
    raise exception 'consumer % has seen message % with another fingerprint: % then, % now', inbox_once.consumer, inbox_once.id,
      seen.fingerprint, inbox_once.fingerprint using errcode = 'integrity_constraint_violation',
      hint = 'two different messages came under one id: look at where the id is made';
  elsif seen.state = 'done' then
    return false;
  elsif seen.state = 'parked' then
    raise exception 'message % is parked for consumer %: %', inbox_once.id, inbox_once.consumer, seen.reason
      using errcode = 'object_not_in_prerequisite_state', hint = 'find out whether it had its effect, then avouch.inbox_decide';
  end if;
  -- Begun by asking: whoever holds the token is fenced from now on.
  update avouch.inbox i
  set state = 'done', revision = i.revision + 1, until = null, reason = null, message_id = inbox_once.id, changed_at = clock_timestamp(),
      fingerprint = coalesce(inbox_once.fingerprint, i.fingerprint), token = nextval('avouch.inbox_token')
  where i.consumer = who and i.key = inbox_once.id::text;
  return true;
end $$;

-- May this consumer act on this key now? decision: run (with a token, until the lease ends), done (with the result), skip (an
-- older version), busy (somebody runs it, or it failed a moment ago: ask again after retry_after_ms), reject (it failed for
-- good, or is parked), conflict (the same key with another fingerprint). The only place that decides it.
-- With is_judged a plugin compares versions and fingerprints: where it may, the decision is ask, with what is recorded, and
-- avouch.inbox_claim follows.
create or replace function avouch.inbox_begin(
  consumer text, key text, fingerprint text default null, version bigint default null, message_id uuid default null,
  lease interval default null, is_judged boolean default false,
  out decision text, out token bigint, out attempt int, out lease_ms bigint, out retry_after_ms bigint, out result text, out reason text,
  out seen avouch.inbox
) language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.consumer := avouch.consumer_of(inbox_begin.consumer);
  is_newer boolean;
  is_older boolean;
  at timestamptz;
begin
  lease := coalesce(lease, who.lease_ms * interval '1 ms');
  lease_ms := extract(epoch from lease) * 1000;
  at := clock_timestamp();
  if not is_judged then
    insert into avouch.inbox as i (consumer, key, state, message_id, fingerprint, version, until)
    values (who.id, inbox_begin.key, 'running', inbox_begin.message_id, inbox_begin.fingerprint, inbox_begin.version, at + lease)
    on conflict do nothing returning i.token, i.attempts into inbox_begin.token, attempt;
    if found then
      decision := 'run';
      return;
    end if;
  end if;
  lease_ms := null;
  select * into seen from avouch.inbox i where i.consumer = who.id and i.key = inbox_begin.key for update;
  if not found then
    -- Not judged, it was retired in this very moment.
    decision := case when is_judged then 'ask' else 'busy' end;
    retry_after_ms := case when not is_judged then 10 end;
    return;
  end if;
  at := clock_timestamp();
  is_newer := coalesce(inbox_begin.version > seen.version, false);
  is_older := coalesce(inbox_begin.version < seen.version, false);
  if not is_judged and not is_newer and not is_older and seen.fingerprint <> inbox_begin.fingerprint then
    decision := 'conflict';
    reason := format('key %s was recorded for message %s with fingerprint %s, and this one has %s', inbox_begin.key, seen.message_id,
      seen.fingerprint, inbox_begin.fingerprint);
    perform avouch.tell(who, inbox_begin.key, inbox_begin.message_id, reason);
    return;
  elsif seen.state in ('running', 'waiting') and (seen.until > at or is_older and not is_judged) then
    decision := 'busy';
    retry_after_ms := greatest(1, ceil(extract(epoch from seen.until - at) * 1000));
    return;
  elsif is_judged and seen.state = 'done' then
    decision := 'ask';
    result := seen.result;
    return;
  elsif not is_newer and seen.state = 'done' then
    decision := case when is_older then 'skip' else 'done' end;
    result := case when not is_older then seen.result end;
    reason := case when is_older then format('version %s is older than %s, which is done', inbox_begin.version, seen.version) end;
    perform avouch.tell(who, inbox_begin.key, inbox_begin.message_id);
    return;
  elsif not is_newer and seen.state in ('rejected', 'parked') then
    decision := 'reject';
    reason := seen.reason;
    perform avouch.tell(who, inbox_begin.key, inbox_begin.message_id, reason);
    return;
  elsif seen.state = 'running' and who.takeover = 'park' then
    update avouch.inbox i
    set state = 'parked', revision = i.revision + 1, until = null, changed_at = at,
        reason = format('the lease of attempt %s ended without a word: whether it had its effect is not known', seen.attempts)
    where i.consumer = who.id and i.key = inbox_begin.key returning i.reason into inbox_begin.reason;
    decision := 'reject';
    perform avouch.note_attempt(seen.message_id, 'attempt_lost', who.id, seen.attempts, seen.key, null);
    perform avouch.tell(who, inbox_begin.key, inbox_begin.message_id, reason);
    return;
  elsif not is_newer and seen.attempts >= who.attempts_max then
    update avouch.inbox i
    set state = 'rejected', revision = i.revision + 1, until = null, changed_at = at,
        reason = format('%s attempts ended without a word', seen.attempts)
    where i.consumer = who.id and i.key = inbox_begin.key returning i.reason into inbox_begin.reason;
    decision := 'reject';
    if seen.state = 'running' then
      perform avouch.note_attempt(seen.message_id, 'attempt_lost', who.id, seen.attempts, seen.key, null);
    end if;
    perform avouch.tell(who, inbox_begin.key, inbox_begin.message_id, reason);
    return;
  elsif is_judged then
    decision := 'ask';
    return;
  end if;
  select * into decision, token, attempt, lease_ms
  from avouch.inbox_claim(inbox_begin.consumer, inbox_begin.key, seen.revision, fingerprint, version, message_id, lease);
end $$;

-- An attempt of a consumer at a message is over: attempt_failed, or attempt_lost, whose holder has not said a word.
create or replace function avouch.note_attempt(message_id uuid, what text, consumer int, attempt int, key text, reason text)
returns void language sql security definer set search_path = pg_catalog, avouch, pg_temp as $$
  insert into avouch.event (subject, what, consumer, detail)
  select note_attempt.message_id, note_attempt.what, note_attempt.consumer, jsonb_strip_nulls(jsonb_build_object(
    'attempt', note_attempt.attempt, 'key', case when note_attempt.key <> note_attempt.message_id::text then note_attempt.key end,
    'reason', left(note_attempt.reason, 1000)))
  where note_attempt.message_id is not null
$$;

-- Runs it, if the record is still at this revision; null: if there is no record. decision: run, or miss.
create or replace function avouch.inbox_claim(
  consumer text, key text, expected int, fingerprint text default null, version bigint default null, message_id uuid default null,
  lease interval default null,
  out decision text, out token bigint, out attempt int, out lease_ms bigint
) language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.consumer := avouch.consumer_of(inbox_claim.consumer);
  before avouch.inbox;
begin
  lease := coalesce(lease, who.lease_ms * interval '1 ms');
  if expected is null then
    insert into avouch.inbox as i (consumer, key, state, message_id, fingerprint, version, until)
    values (who.id, inbox_claim.key, 'running', inbox_claim.message_id, inbox_claim.fingerprint, inbox_claim.version, clock_timestamp() + lease)
    on conflict do nothing returning i.token, i.attempts into inbox_claim.token, attempt;
  else
    select * into before from avouch.inbox i where i.consumer = who.id and i.key = inbox_claim.key and i.revision = inbox_claim.expected;
    update avouch.inbox i
    set state = 'running', revision = i.revision + 1, token = nextval('avouch.inbox_token'), until = clock_timestamp() + lease,
        attempts = case when i.state = 'done' or inbox_claim.version > i.version then 1 else i.attempts + 1 end,
        version = inbox_claim.version, message_id = inbox_claim.message_id, fingerprint = inbox_claim.fingerprint,
        result = null, reason = null, changed_at = clock_timestamp()
    where i.consumer = who.id and i.key = inbox_claim.key and i.revision = inbox_claim.expected
    returning i.token, i.attempts into inbox_claim.token, attempt;
  end if;
  decision := case when found then 'run' else 'miss' end;
  if before.state = 'running' and inbox_claim.token is not null then
    perform avouch.note_attempt(before.message_id, 'attempt_lost', who.id, before.attempts, before.key, null);
  end if;
  lease_ms := case when decision = 'run' then extract(epoch from lease) * 1000 end;
end $$;

-- The holder of a token is done: true if the record says so now, false if the token is stale and nothing was changed. Inside the
-- transaction of the effect, false means: roll back.
create or replace function avouch.inbox_complete(consumer text, key text, token bigint, result text default null)
returns boolean language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.consumer := avouch.consumer_of(inbox_complete.consumer);
  message uuid;
begin
  update avouch.inbox i
  set state = 'done', revision = i.revision + 1, until = null, result = inbox_complete.result, reason = null, changed_at = clock_timestamp()
  where i.consumer = who.id and i.key = inbox_complete.key and i.token = inbox_complete.token and i.state = 'running'
  returning i.message_id into message;
  if found then
    perform avouch.tell(who, inbox_complete.key, message);
    return true;
  end if;
  -- Its first answer may have been lost.
  return exists (select from avouch.inbox i where i.consumer = who.id and i.key = inbox_complete.key
    and i.token = inbox_complete.token and i.state = 'done');
end $$;

-- The holder of a token has failed: for good, or to be tried again after a while. state: waiting, rejected, or fenced.
create or replace function avouch.inbox_fail(
  consumer text, key text, token bigint, reason text, permanent boolean default false, retry_after interval default null,
  out state text, out retry_after_ms bigint
) language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.consumer := avouch.consumer_of(inbox_fail.consumer);
  message uuid;
  final text;
  attempt int;
begin
  update avouch.inbox i
  set state = case when permanent or i.attempts >= who.attempts_max then 'rejected' else 'waiting' end,
      revision = i.revision + 1, changed_at = clock_timestamp(),
      until = case when not permanent and i.attempts < who.attempts_max then clock_timestamp()
        + coalesce(inbox_fail.retry_after, least(who.retry_max_ms, who.retry_first_ms * 2.0 ^ least(i.attempts - 1, 40)) * interval '1 ms') end,
      reason = case when permanent then inbox_fail.reason else format('attempt %s: %s', i.attempts, inbox_fail.reason) end
  where i.consumer = who.id and i.key = inbox_fail.key and i.token = inbox_fail.token and i.state = 'running'
  returning i.state, ceil(extract(epoch from i.until - clock_timestamp()) * 1000), i.message_id, i.reason, i.attempts
  into inbox_fail.state, inbox_fail.retry_after_ms, message, final, attempt;
  if inbox_fail.state is not null then
    perform avouch.note_attempt(message, 'attempt_failed', who.id, attempt, inbox_fail.key, inbox_fail.reason);
  end if;
  if inbox_fail.state = 'rejected' then
    perform avouch.tell(who, inbox_fail.key, message, final);
  elsif inbox_fail.state is null then
    -- Its first answer may have been lost.
    select i.state, greatest(0, ceil(extract(epoch from i.until - clock_timestamp()) * 1000)) into inbox_fail.state, inbox_fail.retry_after_ms
    from avouch.inbox i
    where i.consumer = who.id and i.key = inbox_fail.key and i.token = inbox_fail.token and i.state in ('waiting', 'rejected');
    inbox_fail.state := coalesce(inbox_fail.state, 'fenced');
  end if;
end $$;

-- The holder of a token needs longer: ms of the new lease, null if the token is stale.
create or replace function avouch.inbox_renew(consumer text, key text, token bigint, lease interval default null)
returns bigint language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.consumer := avouch.consumer_of(inbox_renew.consumer);
begin
  lease := coalesce(lease, who.lease_ms * interval '1 ms');
  update avouch.inbox i
  set revision = i.revision + 1, until = clock_timestamp() + lease, changed_at = clock_timestamp()
  where i.consumer = who.id and i.key = inbox_renew.key and i.token = inbox_renew.token and i.state = 'running';
  return case when found then (extract(epoch from lease) * 1000)::bigint end;
end $$;

-- What a person decides about a parked or rejected record: retry (it runs again from the first attempt, and its message is sent
-- again if it is dead) or done (it counts as done). Returns false if it is neither.
create or replace function avouch.inbox_decide(consumer text, key text, outcome text, reason text default null)
returns boolean language plpgsql security definer set search_path = pg_catalog, avouch, pg_temp set enable_seqscan = off as $$
declare
  who avouch.consumer := avouch.consumer_of(inbox_decide.consumer);
  message uuid;
begin
  if outcome is null or outcome not in ('retry', 'done') then
    raise exception 'outcome % is neither retry nor done', coalesce(outcome, 'null') using errcode = 'invalid_parameter_value',
      constraint = 'inbox_outcome_known', hint = 'write retry or done';
  end if;
  update avouch.inbox i
  set state = case outcome when 'retry' then 'waiting' else 'done' end, revision = i.revision + 1, attempts = 0,
      until = case outcome when 'retry' then clock_timestamp() end, reason = inbox_decide.reason, changed_at = clock_timestamp()
  where i.consumer = who.id and i.key = inbox_decide.key and i.state in ('parked', 'rejected')
  returning i.message_id into message;
  if found then
    if outcome = 'retry' then
      perform avouch.resend(message);
    else
      perform avouch.tell(who, inbox_decide.key, message);
    end if;
    insert into avouch.audit (action, subject, detail)
    values ('inbox ' || outcome, inbox_decide.consumer || ' ' || inbox_decide.key, inbox_decide.reason);
    return true;
  end if;
  return false;
end $$;

-- What keeps old row versions from being removed in this database, for longer than this: sessions in a transaction, prepared
-- transactions, replication slots that nobody reads. As its owner, because only privileged roles see other sessions' transactions.
create or replace function avouch.pins(older_than interval) returns table (holder text, what text, since timestamptz)
language sql stable security definer set search_path = pg_catalog, avouch, pg_temp as $$
  select format('session %s', a.pid),
         format('user %s, application %s, from %s, %s', a.usename, coalesce(nullif(a.application_name, ''), 'unnamed'),
                coalesce(host(a.client_addr), 'this machine'), coalesce(a.state, 'state unknown')),
         a.xact_start
  from pg_stat_activity a
  where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
    and (a.backend_xmin is not null or a.backend_xid is not null) and a.xact_start < clock_timestamp() - older_than
  union all
  select format('prepared transaction %s', p.gid), format('of %s: commit prepared, or rollback prepared', p.owner), p.prepared
  from pg_prepared_xacts p
  where p.database = current_database() and p.prepared < clock_timestamp() - older_than
  union all
  select format('replication slot %s', r.slot_name), 'nobody reads it: pg_drop_replication_slot, or start its reader', null
  from pg_replication_slots r
  where not r.active and r.xmin is not null
  order by 3 nulls last
  limit 5
$$;

-- -- Grants -----------------------------------------------------------------------------------------------------------
revoke all on all functions in schema avouch from public;
grant execute on function avouch.failure_class(text), avouch.failures(), avouch.pins(interval) to avouch_runtime, avouch_viewer;
grant execute on function avouch.uuid_v7(), avouch.shard_of(text, uuid) to avouch_producer, avouch_runtime;
grant insert (tx_id, topic, key, payload, payload_bytes, headers, not_before, release_on, dedup_key)
  on avouch.outbox to avouch_producer;
grant select (id, topic, dedup_key) on avouch.outbox to avouch_producer;
grant execute on function
  avouch.prepare(text, interval, text, uuid), avouch.commit(uuid), avouch.rollback(uuid, text),
  avouch.report(uuid, text, text)
  to avouch_producer, avouch_runtime;

grant execute on function
  avouch.confirm(text, uuid, text), avouch.inbox_once(text, uuid, text), avouch.inbox_begin(text, text, text, bigint, uuid, interval, boolean),
  avouch.inbox_claim(text, text, int, text, bigint, uuid, interval),
  avouch.inbox_complete(text, text, bigint, text), avouch.inbox_fail(text, text, bigint, text, boolean, interval),
  avouch.inbox_renew(text, text, bigint, interval)
  to avouch_consumer, avouch_runtime;

grant select on all tables in schema avouch to avouch_runtime, avouch_viewer;
revoke all on avouch.token, avouch.session, avouch.endpoint_secret, avouch.endpoint_token from avouch_viewer;
grant insert, update, delete on avouch.token, avouch.session to avouch_runtime;
grant select on sequence avouch.outbox_seq to avouch_runtime, avouch_viewer;
grant usage on sequence avouch.outbox_seq to avouch_runtime;
grant update, delete on avouch.outbox to avouch_runtime;
grant update, delete on avouch.tx to avouch_runtime;
-- For producers without database access, whom the runtime serves over NATS.
grant insert (id, checker, ref, check_at) on avouch.tx to avouch_runtime;
grant insert (tx_id, topic, key, payload, payload_bytes, headers, not_before, release_on, dedup_key)
  on avouch.outbox to avouch_runtime;
grant delete on avouch.dedup, avouch.plugin_log, avouch.inbox, avouch.receipt to avouch_runtime;
grant insert, update, delete on avouch.recovery to avouch_runtime;
-- What nobody has begun is begun, and what is plainly done is done, many at once: without a call each.
grant insert, update on avouch.inbox to avouch_runtime;
grant usage on sequence avouch.inbox_token to avouch_runtime;
grant insert, update on avouch.consumer to avouch_runtime;
grant insert, update, delete on avouch.instance, avouch.hold to avouch_runtime;
grant update on avouch.shard to avouch_runtime;
grant update (consumers) on avouch.meta to avouch_runtime;
grant insert, update on avouch.reached, avouch.loss to avouch_runtime;
grant insert, update, delete on avouch.plugin_use to avouch_runtime;
grant delete on avouch.event to avouch_runtime;
grant insert (subject, what, consumer, detail) on avouch.event to avouch_runtime;
grant insert, delete on avouch.sample to avouch_runtime;
grant insert, update, delete on avouch.endpoint, avouch.endpoint_secret, avouch.endpoint_token, avouch.notice, avouch.delivery to avouch_runtime;
grant insert, delete on avouch.attempt to avouch_runtime;
grant insert on avouch.stream, avouch.audit, avouch.plugin, avouch.deployment, avouch.plugin_log to avouch_runtime;
grant execute on function
  avouch.settle(uuid[], text, text, text[], text[]), avouch.recheck(uuid[]), avouch.discard(uuid, text), avouch.pause(text, text, text), avouch.resume(text, text),
  avouch.resend(uuid), avouch.replay(text, uuid[], boolean), avouch.remove_consumer(text, text),
  avouch.notify_again(text, uuid[]), avouch.notify_given_up_again(text, timestamptz, int),
  avouch.set_endpoint(text, text, text), avouch.remove_endpoint(text, text),
  avouch.inbox_decide(text, text, text, text)
  to avouch_runtime;

commit;
