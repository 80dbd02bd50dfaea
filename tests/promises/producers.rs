//! Producers: what the role `avouch_producer` may do, the functions it calls, and what holds its messages back.

use std::pin::pin;

use avouch_tests::database::Database;
use avouch_tests::servers::shared;
use avouch_tests::wait::until;
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::input::refusal;
use crate::relayed::{LIMIT, Relayed};

/// A connection of a fresh login role that is only in this group.
pub async fn login(database: &Database, group: &str) -> Client {
    let role = format!("role_{}", Uuid::now_v7().simple());
    let create = format!("create role {role} login in role {group}");
    database.client().await.batch_execute(&create).await.expect("a role can be made");
    connect(&url_of(database, &role)).await
}

/// The URL of this database for another role: the server trusts loopback.
pub fn url_of(database: &Database, role: &str) -> String {
    database.url().replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
}

/// A connection.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the role may connect");
    // It ends with the database, which the test drops.
    tokio::spawn(async move { connection.await.ok() });
    client
}

/// A fresh transaction in doubt.
pub async fn prepare(client: &Client) -> Uuid {
    let prepared = client.query_one("select avouch.prepare('payments', '5 minutes', 'payment-42')", &[]).await;
    prepared.expect("a producer may prepare").get(0)
}

#[tokio::test]
async fn producer_role_can_do_all_that_the_contract_offers() {
    let database = Database::create().await;
    let producer = login(&database, "avouch_producer").await;
    let all = "insert into avouch.outbox (tx_id, topic, key, payload, headers, not_before, release_on, dedup_key) \
               values ($1, 't', 'k', 'all', '{\"a\":\"b\"}', now(), 'commit', 'd') returning id, topic, dedup_key";
    let (tx, other) = (prepare(&producer).await, prepare(&producer).await);
    let row = producer.query_one(all, &[&tx]).await.expect("every column of the contract may be inserted");
    assert_eq!(row.get::<_, Uuid>(0).get_version_num(), 7);
    assert_eq!((row.get(1), row.get(2)), ("t", "d"));
    producer
        .execute("insert into avouch.outbox (topic, payload_bytes) values ('t', 'bytes')", &[])
        .await
        .expect("bytes too");
    let copy = "copy avouch.outbox (topic, key, payload) from stdin";
    let mut copy = pin!(producer.copy_in::<_, Bytes>(copy).await.expect("a producer may copy in"));
    copy.send(Bytes::from_static(b"t\tk\tcopied 1\nt\tk\tcopied 2\n")).await.expect("rows are taken");
    assert_eq!(copy.finish().await.expect("rows are taken"), 2);
    producer
        .execute("select avouch.commit($1), avouch.rollback($2, 'declined')", &[&tx, &other])
        .await
        .expect("both settle");
    let client = database.client().await;
    let settled = "select (select state from avouch.tx where id = $1), (select state from avouch.tx where id = $2)";
    let states = client.query_one(settled, &[&tx, &other]).await.expect("both are known");
    assert_eq!((states.get(0), states.get(1)), ("committed", "rolled_back"));
    let ready = client.query_one("select count(*) from avouch.outbox where state = 'ready'", &[]).await;
    assert_eq!(ready.expect("the outbox can be read").get::<_, i64>(0), 4);
}

#[tokio::test]
async fn producer_role_can_do_nothing_else() {
    let database = Database::create().await;
    let producer = login(&database, "avouch_producer").await;
    producer
        .execute("insert into avouch.outbox (topic, payload) values ('t', 'secret')", &[])
        .await
        .expect("this it may");
    let columns =
        ["state", "seq", "id", "generation", "created_at", "sent_at", "released_at", "stream", "stream_seq", "reason"];
    let mut refused: Vec<String> = columns
        .iter()
        .map(|c| format!("insert into avouch.outbox (topic, payload, {c}) values ('t', '', null)"))
        .collect();
    refused.extend(
        [
            "select payload from avouch.outbox",
            "select * from avouch.outbox",
            "insert into avouch.outbox (topic, payload) values ('t', '') returning payload",
            "update avouch.outbox set payload = 'forged'",
            "update avouch.outbox set topic = topic",
            "delete from avouch.outbox",
            "truncate avouch.outbox",
            "copy avouch.outbox to stdout",
            "select avouch.release(null, 'commit')",
            "select avouch.pause('topic', 't')",
            "select avouch.resume('topic', 't')",
            "select avouch.resend(null)",
            "select nextval('avouch.outbox_seq')",
            "select setval('avouch.outbox_seq', 1)",
            "select from avouch.shard",
            "update avouch.shard set epoch = epoch + 1",
            "select from avouch.tx",
            "update avouch.tx set state = 'committed'",
            "insert into avouch.tx (id, checker, check_at) values (gen_random_uuid(), 'c', now())",
            "insert into avouch.dedup (topic, dedup_key, message_id) values ('t', 'd', gen_random_uuid())",
            "delete from avouch.dedup",
            "insert into avouch.hold (kind, name) values ('topic', 't')",
            "insert into avouch.instance (id, name, version, lease_until) values (gen_random_uuid(), 'x', 'x', 'infinity')",
            "delete from avouch.audit",
            "alter table avouch.outbox disable trigger all",
            "create table avouch.mine ()",
            "create function avouch.mine() returns int language sql return 1",
        ]
        .map(str::to_owned),
    );
    for sql in refused {
        let error = refusal(producer.batch_execute(&sql).await, &sql);
        assert_eq!(error.code(), &SqlState::INSUFFICIENT_PRIVILEGE, "{sql}: {error}");
    }
    let shard = "insert into avouch.outbox (topic, payload, shard) values ('t', '', 1)";
    let error = refusal(producer.batch_execute(shard).await, shard);
    assert!([SqlState::GENERATED_ALWAYS, SqlState::INSUFFICIENT_PRIVILEGE].contains(error.code()), "{error}");
    let nobody = Database::create().await;
    let nobody = login(&nobody, "pg_monitor").await;
    for sql in ["select avouch.prepare('c', '1 s')", "select avouch.commit(null)", "select avouch.shard_of('a', null)"]
    {
        assert_eq!(refusal(nobody.batch_execute(sql).await, sql).code(), &SqlState::INSUFFICIENT_PRIVILEGE, "{sql}");
    }
}

#[tokio::test]
async fn dedup_key_is_unique_per_topic() {
    let database = Database::create().await;
    let mut producer = login(&database, "avouch_producer").await;
    let insert = |topic: &str| {
        format!("insert into avouch.outbox (topic, payload, dedup_key) values ('{topic}', '', 'order-42')")
    };
    let undone = producer.transaction().await.expect("a transaction can be begun");
    undone.batch_execute(&insert("a")).await.expect("the key is free");
    undone.rollback().await.expect("it is undone");
    for topic in ["a", "b"] {
        producer.batch_execute(&insert(topic)).await.expect("the key is free in this topic");
        let error = refusal(producer.batch_execute(&insert(topic)).await, "the same key again");
        assert_eq!(error.constraint(), Some("dedup_key_unique_per_topic"));
    }
    let left: i64 =
        producer.query_one("select count(id) from avouch.outbox", &[]).await.expect("ids can be read").get(0);
    assert_eq!(left, 2);
}

#[tokio::test]
async fn not_before_delays_a_message_without_holding_its_key() {
    let relayed = Relayed::start("").await;
    let sql = "insert into avouch.outbox (topic, key, payload, not_before) \
               values ('t', 'k', 'delayed', clock_timestamp() + interval '1 s') returning id, not_before::text";
    let row = relayed.client.query_one(sql, &[]).await.expect("a time is accepted");
    let (delayed, not_before): (Uuid, &str) = (row.get(0), row.get(1));
    relayed.insert("t", "k", "at once").await;
    relayed.in_state(delayed, "sent").await;
    let payloads: Vec<_> = relayed.arrived(2).await.into_iter().map(|message| message.payload).collect();
    assert_eq!(payloads, ["at once", "delayed"]);
    let sql = "select released_at >= $1::text::timestamptz and sent_at >= released_at from avouch.outbox where id = $2";
    let is_late: bool = relayed.client.query_one(sql, &[&not_before, &delayed]).await.expect("it has gone").get(0);
    assert!(is_late, "it went before {not_before}");
}

#[tokio::test]
async fn paused_topic_or_key_waits_and_goes_on_in_order() {
    let relayed = Relayed::start("").await;
    for (kind, name, topic, key) in [("topic", "held", "held", "a"), ("key", "k", "t", "k")] {
        let pause = "select avouch.pause($1, $2, 'for the test')";
        relayed.client.execute(pause, &[&kind, &name]).await.expect("an operator may pause");
        // The relay learns of it by NOTIFY: from some message on, everything waits.
        let first_held = until("the pause is known", LIMIT, async || {
            let probe = relayed.insert(topic, key, "probe").await;
            relayed.everything_else_went().await;
            let sql = "select from avouch.outbox where id = $1 and state = 'ready'";
            relayed.client.query_opt(sql, &[&probe]).await.expect("it can be read").map(|_| probe)
        })
        .await;
        let mut held = vec![first_held];
        for n in 0..20 {
            held.push(relayed.insert(topic, key, &format!("{n}")).await);
        }
        relayed.everything_else_went().await;
        for id in &held {
            relayed.in_state(*id, "ready").await;
        }
        let resumed = relayed.client.query_one("select avouch.resume($1, $2)", &[&kind, &name]).await;
        assert!(resumed.expect("an operator may resume").get::<_, bool>(0));
        for id in &held {
            relayed.in_state(*id, "sent").await;
        }
        let held: Vec<_> = held.iter().map(Uuid::to_string).collect();
        let arrived = relayed.arrived(21).await;
        let order = arrived.iter().filter_map(|message| message.header("Avouch-Id"));
        assert_eq!(order.filter(|id| held.iter().any(|held| held == id)).collect::<Vec<_>>(), held, "{kind} {name}");
    }
}

#[tokio::test]
async fn discarded_message_of_a_paused_topic_is_never_sent() {
    let database = Database::create().await;
    // Paused before the relay starts, so that it cannot be faster than the pause.
    database.client().await.batch_execute("select avouch.pause('topic', 't')").await.expect("an operator may pause");
    let relayed = Relayed::start_on(database, &shared().nats.url(), "").await;
    let ids = [relayed.insert("t", "k", "1").await, relayed.insert("t", "k", "2").await];
    relayed.everything_else_went().await;
    for (result, why) in [(true, "it waits"), (false, "it is discarded already")] {
        let discarded = relayed.client.query_one("select avouch.discard($1, 'not wanted')", &[&ids[0]]).await;
        assert_eq!(discarded.expect("an operator may discard").get::<_, bool>(0), result, "{why}");
    }
    relayed.client.execute("select avouch.resume('topic', 't')", &[]).await.expect("an operator may resume");
    relayed.in_state(ids[1], "sent").await;
    assert_eq!(relayed.in_state(ids[0], "discarded").await.as_deref(), Some("not wanted"));
    let arrived = relayed.arrived(1).await;
    let payloads = arrived.iter().filter(|message| message.header("Avouch-Topic") == Some("t")).map(|m| &*m.payload);
    assert_eq!(payloads.collect::<Vec<_>>(), [b"2"]);
    let sql = "select count(*) from avouch.audit where action = 'discard' and subject = $1 and detail = 'not wanted'";
    let audited: i64 =
        relayed.client.query_one(sql, &[&ids[0].to_string()]).await.expect("the audit can be read").get(0);
    assert_eq!(audited, 1);
}

#[tokio::test]
async fn rate_limit_of_a_topic_holds_and_slows_no_other_topic() {
    const PER_S: f64 = 50.0;
    const BURST: f64 = 5.0;
    let relayed = Relayed::start("[topic.slow]\nrate_per_s = 50\n").await;
    let sql =
        "insert into avouch.outbox (topic, key, payload) select 'slow', n::text, '' from generate_series(1, 150) n";
    relayed.client.execute(sql, &[]).await.expect("rows are accepted");
    relayed.insert("fast", "k", "").await;
    let arrived = relayed.arrived(151).await;
    let slow: Vec<_> = arrived.iter().filter(|message| message.header("Avouch-Topic") == Some("slow")).collect();
    let stream = relayed.jetstream.get_stream(&relayed.names.stream).await.expect("the stream is there");
    let time_of = async |sequence| stream.get_raw_message(sequence).await.expect("the stream holds it").time;
    let span = time_of(slow[149].sequence).await - time_of(slow[0].sequence).await;
    // Half a second is for a machine that stamped the first message late.
    let allowed = PER_S * (span.as_seconds_f64() + 0.5) + BURST;
    assert!(150.0 <= allowed, "150 messages in {span}, {allowed:.0} are allowed");
    assert_ne!(arrived[150].header("Avouch-Topic"), Some("fast"), "the other topic waited");
}

/// Everything that a careless SECURITY DEFINER function would look up by the caller's search_path. Each tells when it is used.
const EVIL: &str = "
create function evil.clock_timestamp() returns timestamptz language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.now() returns timestamptz language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.uuid_v7() returns uuid language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.gen_random_uuid() returns uuid language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.nextval(text) returns bigint language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.nextval(regclass) returns bigint language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.release(uuid, text) returns void language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.shard_of(text, uuid) returns int language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.header_names_ok(jsonb) returns boolean language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.header_values_ok(jsonb) returns boolean language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.jsonb_typeof(jsonb) returns text language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.octet_length(text) returns int language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.current_setting(text, boolean) returns text language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.pg_notify(text, text) returns void language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.pg_try_advisory_xact_lock_shared(int, int) returns boolean language plpgsql
  as $$ begin raise 'hijacked'; end $$;
create table evil.tx (like avouch.tx);
create table evil.outbox (like avouch.outbox);
create table evil.dedup (like avouch.dedup);
create temp table tx (like avouch.tx);
create temp table outbox (like avouch.outbox);
create temp table dedup (like avouch.dedup);
set search_path = evil, pg_temp, pg_catalog;
";
/// The caller's own trigger and statements use these too, so they come into play for the functions alone.
const EVIL_OPERATORS: &str = "
create function evil.lie(uuid, uuid) returns boolean language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.lie(text, text) returns boolean language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.lie(interval, interval) returns boolean language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.lie(timestamptz, interval) returns timestamptz language plpgsql as $$ begin raise 'hijacked'; end $$;
create function evil.lie(int, int) returns int language plpgsql as $$ begin raise 'hijacked'; end $$;
create operator evil.= (function = evil.lie, leftarg = uuid, rightarg = uuid);
create operator evil.= (function = evil.lie, leftarg = text, rightarg = text);
create operator evil.< (function = evil.lie, leftarg = interval, rightarg = interval);
create operator evil.+ (function = evil.lie, leftarg = timestamptz, rightarg = interval);
create operator evil.+ (function = evil.lie, leftarg = int, rightarg = int);
create operator evil.|| (function = evil.lie, leftarg = text, rightarg = text);
";

#[tokio::test]
async fn search_path_of_the_caller_changes_nothing() {
    let database = Database::create().await;
    let (client, producer) = (database.client().await, login(&database, "avouch_producer").await);
    let likes = "create schema evil; grant all on schema evil to public;
                 grant select on avouch.tx, avouch.outbox, avouch.dedup to public";
    client.batch_execute(likes).await.expect("a schema of the attacker can be made");
    producer.batch_execute(EVIL).await.expect("an attacker may fill its own schema");
    let used = refusal(producer.execute("select now()", &[]).await, "the trap itself");
    assert_eq!(used.message(), "hijacked", "the traps lie first on the path");
    for word in ["commit", "rollback"] {
        let tx = prepare(&producer).await;
        let sql = "insert into avouch.outbox (tx_id, topic, key, payload, headers, dedup_key) \
                   values ($1, 't', 'k', '', '{\"a\":\"b\"}', $2)";
        producer.execute(sql, &[&tx, &word]).await.expect("nothing of the attacker's is used");
        producer
            .execute(&format!("select avouch.{word}($1)"), &[&tx])
            .await
            .expect("nothing of the attacker's is used");
    }
    let (first, second) = (prepare(&producer).await, prepare(&producer).await);
    producer.batch_execute(EVIL_OPERATORS).await.expect("an attacker may make operators");
    let used = refusal(producer.batch_execute("select 1 + 1").await, "the trap itself");
    assert_eq!(used.message(), "hijacked", "the traps lie first on the path");
    prepare(&producer).await;
    producer
        .execute("select avouch.commit($1), avouch.rollback($2)", &[&first, &second])
        .await
        .expect("no operator is used");
    let sql = "select (select count(*) from avouch.outbox where state = 'ready'), (select count(*) from avouch.dedup), \
               (select count(*) from avouch.tx where state <> 'prepared'), (select count(*) from evil.tx), \
               (select count(*) from evil.outbox), (select count(*) from evil.dedup)";
    let row = client.query_one(sql, &[]).await.expect("all can be counted");
    assert_eq!(std::array::from_fn(|n| row.get::<_, i64>(n)), [1, 2, 4, 0, 0, 0]);
}
