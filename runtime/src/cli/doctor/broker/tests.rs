//! Each oddity of the broker is told, alone.

use serde_json::json;

use super::*;
use crate::broker::permissions::{Body, Probe};
use crate::broker::survey::{DurableFacts, StreamConfig};
use crate::cli::doctor::contract::NS_PER_S;
use crate::cli::doctor::finding::Severity::{self, Note, Ok, Problem, Warning};
use crate::store::survey::{Consumer, Known};

const FILE: &str =
    "[source.main]\nurl = \"x\"\n[consumer.billing]\ntopics = [\"orders.>\"]\n[stream.AVOUCH]\nmax_bytes = 1000\n";
const CREATED: &str = "2026-01-31T12:00:00.123456789Z";
const CREATED_US: i64 = 1_769_860_800_123_456;

fn config() -> Config {
    Config::parse(FILE).expect("is valid")
}

fn healthy() -> Facts {
    let config = config();
    let there = json!({
        "config": {
            "subjects": ["msg.>", "redo.billing.>"], "retention": "limits", "discard": "new", "storage": "file", "num_replicas": 1,
            "max_msgs": -1, "max_bytes": 1000, "max_age": 604_800_000_000_000_i64, "max_msg_size": -1, "duplicate_window": 600_000_000_000_i64
        },
        "state": { "messages": 3, "bytes": 300 }, "created": CREATED, "ts": CREATED
    });
    let durable = json!({
        "config": { "filter_subjects": ["redo.billing.>", "msg.orders.>"], "ack_policy": "explicit", "max_ack_pending": 1000 },
        "num_pending": 3, "num_ack_pending": 0
    });
    let durable: DurableFacts = serde_json::from_value(durable).expect("as a server tells it");
    let wanted = config.durables()["billing"].durable.clone();
    let (name, wanted_stream) = config.streams().remove(0);
    let stream = Stream {
        name,
        wanted: wanted_stream,
        durables: vec![durables::Durable { wanted, resent_ms: 240_000, found: Found::There(durable) }],
        found: Found::There(serde_json::from_value(there).expect("as a server tells it")),
        takers: Found::Missing,
    };
    let server = Server {
        name: "n1".into(),
        version: "2.11.4".into(),
        cluster: None,
        has_jetstream: true,
        max_payload: 1 << 20,
    };
    Facts {
        server,
        denied: Vec::new(),
        account: Found::There(Account::default()),
        streams: vec![stream],
        events: None,
        bucket: None,
        dead: None,
    }
}

fn books() -> Books {
    let consumer = Consumer { name: "billing".into(), stream: None, is_required: true, has_started: true };
    let known = Known { name: "AVOUCH".into(), created_us: CREATED_US };
    Books { consumers: vec![consumer], streams: vec![known], ..Books::default() }
}

fn found_with(books: &Books, change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Severity)> {
    let mut facts = healthy();
    change(&mut facts);
    let findings = judge(&config(), &facts, std::slice::from_ref(books)).into_iter();
    // That note is there always.
    findings.filter(|f| f.severity != Ok && f.check != "sync_interval").map(|f| (f.check, f.severity)).collect()
}

fn found(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Severity)> {
    found_with(&books(), change)
}

fn there(facts: &mut Facts) -> &mut StreamFacts {
    match &mut facts.streams[0].found {
        Found::There(there) => there,
        Found::Missing | Found::Denied | Found::Unknown(_) => panic!("it is there"),
    }
}

fn of_stream(change: impl FnOnce(&mut StreamConfig)) -> Vec<(&'static str, Severity)> {
    found(|facts| change(&mut there(facts).config))
}

fn of_durable(change: impl FnOnce(&mut DurableFacts)) -> Vec<(&'static str, Severity)> {
    found(|facts| match &mut facts.streams[0].durables[0].found {
        Found::There(durable) => change(durable),
        Found::Missing | Found::Denied | Found::Unknown(_) => panic!("it is there"),
    })
}

#[test]
fn healthy_broker_has_nothing_but_order() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn each_oddity_of_a_server_is_told_alone() {
    assert_eq!(found(|f| f.server.version = "2.10.29".into()), [("version", Problem)]);
    assert_eq!(found(|f| f.server.version = "2.12.0-RC.1".into()), []);
    assert_eq!(found(|f| f.server.has_jetstream = false), [("jetstream", Problem)]);
    assert_eq!(found(|f| f.server.cluster = Some("c".into())), [("replicas", Warning)]);
    let account = json!({ "storage": 900, "limits": { "max_storage": 1000 } });
    let account: Account = serde_json::from_value(account).expect("as a server tells it");
    assert_eq!(found(|f| f.account = Found::There(account)), [("account", Warning)]);
}

#[test]
fn each_oddity_of_a_stream_is_told_alone() {
    assert_eq!(of_stream(|c| c.discard = "old".into()), [("discard", Problem)]);
    assert_eq!(of_stream(|c| c.retention = "workqueue".into()), [("retention", Problem)]);
    assert_eq!(of_stream(|c| c.subjects = vec![">".into()]), []);
    assert_eq!(of_stream(|c| drop(c.subjects.remove(1))), [("subjects", Problem)]);
    assert_eq!(of_stream(|c| c.no_ack = true), [("stream", Problem)]);
    assert_eq!(of_stream(|c| c.sealed = true), [("stream", Problem)]);
    assert_eq!(of_stream(|c| c.duplicate_window = 55 * NS_PER_S), [("duplicate_window", Warning)]);
    assert_eq!(of_stream(|c| c.duplicate_window = 120 * NS_PER_S), [("duplicate_window", Note)]);
    assert_eq!(of_stream(|c| c.max_age = 239 * NS_PER_S), [("max_age", Warning)]);
    assert_eq!(of_stream(|c| c.max_age = 0), []);
    assert_eq!(of_stream(|c| c.storage = "memory".into()), [("storage", Warning)]);
    assert_eq!(of_stream(|c| c.max_msg_size = 1000), [("max_msg_size", Note)]);
    assert_eq!(of_stream(|c| c.max_bytes = -1), [("unbounded", Note)]);
    assert_eq!(of_stream(|c| c.persist_mode = Some("async".into())), [("persist_mode", Note)]);
    assert_eq!(found(|f| there(f).state.bytes = 800), [("full", Warning)]);
    assert_eq!(found(|f| there(f).state.bytes = 950), [("full", Problem)]);
    assert_eq!(found(|f| f.streams[0].found = Found::Unknown("no".into())), [("stream", Problem)]);
}

#[test]
fn copies_of_a_stream_are_looked_at() {
    let peers = |leader: &str, current: bool, offline: bool| {
        let peers = json!({ "leader": leader, "replicas": [{ "name": "n2", "current": current, "offline": offline }] });
        found(|f| there(f).cluster = Some(serde_json::from_value(peers).expect("as a server tells it")))
    };
    assert_eq!(peers("n1", true, false), []);
    assert_eq!(peers("n1", false, true), [("replica_behind", Warning)]);
    assert_eq!(peers("", true, false), [("leader", Problem)]);
}

#[test]
fn missing_stream_is_as_bad_as_what_is_known_of_it() {
    let gone = |f: &mut Facts| f.streams[0].found = Found::Missing;
    assert_eq!(found(gone), [("stream", Problem)]);
    assert_eq!(found_with(&Books::default(), gone), [("stream", Note)]);
    let verified = found_with(&Books::default(), |f| {
        gone(f);
        f.streams[0].wanted.manage = Manage::Verify;
    });
    assert_eq!(verified, [("stream", Problem)]);
    let taken = found_with(&Books::default(), |f| {
        gone(f);
        f.streams[0].takers = Found::There(vec!["OTHER".into()]);
    });
    assert_eq!(taken, [("stream", Problem)]);
    let takers_are = |takers: Found<Vec<String>>| {
        found_with(&Books::default(), |f| {
            gone(f);
            f.streams[0].takers = takers;
        })
    };
    assert_eq!(takers_are(Found::Denied), [("stream", Note), ("overlap", Warning)], "no answer is not a good one");
    assert_eq!(takers_are(Found::Unknown("timed out".into())), [("stream", Note), ("overlap", Warning)]);
    assert_eq!(takers_are(Found::There(vec!["AVOUCH".into()])), [("stream", Note)], "its own subjects are no overlap");
    let mut anew = books();
    anew.streams[0].created_us += 1;
    assert_eq!(found_with(&anew, |_| {}), [("identity", Warning)]);
}

#[test]
fn each_oddity_of_a_durable_is_told_alone() {
    let gone = |f: &mut Facts| f.streams[0].durables[0].found = Found::Missing;
    assert_eq!(found(gone), [("durable", Problem)]);
    let mut fresh = books();
    fresh.consumers.clear();
    assert_eq!(found_with(&fresh, gone), [("durable", Note)]);
    assert_eq!(of_durable(|d| drop(d.config.filter_subjects.remove(1))), [("filters", Problem)]);
    assert_eq!(of_durable(|d| d.config.filter_subjects.push("msg.more".into())), [("filters", Warning)]);
    assert_eq!(of_durable(|d| d.config.ack_policy = "all".into()), [("ack_policy", Problem)]);
    assert_eq!(of_durable(|d| d.num_ack_pending = 1000), [("ack_pending", Warning)]);
    assert_eq!(of_durable(|d| d.paused = true), [("paused", Warning)]);
}

#[test]
fn missing_permission_is_told_once_with_the_subject_to_allow() {
    let need = |probe: &str, is_vital| Need {
        direction: Direction::Publish,
        subject: "$JS.API.CONSUMER.*.AVOUCH.>".into(),
        for_what: "the durable is not made".into(),
        probe: Probe { subject: probe.into(), body: Body::Look },
        is_vital,
    };
    let two = vec![need("a", true), need("b", true)];
    assert_eq!(found(|f| f.denied = two), [("permission", Problem)]);
    assert_eq!(found(|f| f.denied = vec![need("a", false)]), [("permission_to_look", Note)]);
}

#[test]
fn lost_stream_of_acknowledgements_is_a_problem_once_there_were_some() {
    let gone = |f: &mut Facts| f.events = Some(("AVOUCH_EVENTS".into(), Found::Missing));
    assert_eq!(found(gone), [("events", Problem)]);
    assert_eq!(found_with(&Books::default(), gone), [("events", Note)]);
}

fn of_bucket(
    settings: &str,
    cluster: Option<&str>,
    change: impl FnOnce(&mut StreamConfig),
) -> Vec<(&'static str, Severity)> {
    let config = Config::parse(&format!("{FILE}[inbox]\nstore = \"kv\"\n{settings}")).expect("is valid");
    let mut facts = healthy();
    facts.server.cluster = cluster.map(str::to_owned);
    let mut bucket = there(&mut facts).clone();
    (bucket.config.max_msgs_per_subject, bucket.config.max_age) = (1, 240 * 3600 * NS_PER_S);
    change(&mut bucket.config);
    let told = super::bucket::judge(&config, &facts, &Found::There(bucket)).into_iter();
    told.filter(|f| f.severity != Ok).map(|f| (f.check, f.severity)).collect()
}

#[test]
fn each_oddity_of_the_bucket_is_told_alone() {
    let alone = |change: fn(&mut StreamConfig)| of_bucket("", None, change);
    assert_eq!(alone(|_| {}), []);
    assert_eq!(alone(|c| c.max_age = 0), []);
    assert_eq!(alone(|c| c.max_age = 239 * 3600 * NS_PER_S), [("bucket_ttl", Problem)]);
    assert_eq!(of_bucket("keep_hours = 0", None, |_| {}), [("bucket_ttl", Problem)], "it is to be kept for good");
    assert_eq!(alone(|c| c.max_msgs_per_subject = -1), [("bucket", Problem)]);
    assert_eq!(alone(|c| c.mirror = Some(json!({}))), [("bucket", Problem)]);
    assert_eq!(alone(|c| c.discard = "old".into()), [("bucket", Problem)]);
    assert_eq!(alone(|c| c.storage = "memory".into()), [("storage", Warning)]);
    assert_eq!(of_bucket("", Some("c"), |_| {}), [("replicas", Warning)]);
    assert_eq!(of_bucket("", Some("c"), |c| c.num_replicas = 3), []);
    let gone = |settings: &str| {
        let config = Config::parse(&format!("{FILE}[inbox]\nstore = \"kv\"\n{settings}")).expect("is valid");
        super::bucket::judge(&config, &healthy(), &Found::Missing).remove(0)
    };
    assert_eq!(gone("").severity, Note);
    let verified = gone("[inbox.kv]\nmanage = \"verify\"");
    assert_eq!(verified.severity, Problem);
    assert!(verified.remedy.is_some_and(|r| r.ends_with("nats kv add avouch_inbox --replicas 1 --ttl 240h")));
}

#[test]
fn each_oddity_of_the_stream_of_dead_letters_is_told_alone() {
    let with = |change: fn(&mut Facts, &mut Stream)| {
        found(|facts| {
            let mut there = there(facts).clone();
            there.config.subjects = vec!["dead.>".into()];
            let (name, wanted) = (String::from("DEAD"), Wanted { subject_prefix: "dead".into(), ..Wanted::default() });
            let (durables, found) = (Vec::new(), Found::There(there));
            let mut dead = Stream { name, wanted, durables, found, takers: Found::Missing };
            change(facts, &mut dead);
            facts.dead = Some(dead);
        })
    };
    fn of(dead: &mut Stream) -> &mut StreamConfig {
        match &mut dead.found {
            Found::There(there) => &mut there.config,
            Found::Missing | Found::Denied | Found::Unknown(_) => panic!("it is there"),
        }
    }
    assert_eq!(with(|_, _| {}), []);
    assert_eq!(with(|_, d| d.found = Found::Missing), [("stream", Note)]);
    let taken = with(|_, d| (d.found, d.takers) = (Found::Missing, Found::There(vec!["OTHER".into()])));
    assert_eq!(taken, [("stream", Problem)], "it cannot be made");
    assert_eq!(with(|_, d| of(d).subjects = vec!["x.>".into()]), [("subjects", Problem)]);
    assert_eq!(with(|_, d| of(d).discard = "old".into()), [("discard", Problem)]);
    assert_eq!(with(|_, d| of(d).max_age = 3600 * NS_PER_S), [("max_age", Warning)]);
    assert_eq!(with(|_, d| of(d).max_age = 0), []);
    assert_eq!(with(|_, d| of(d).storage = "memory".into()), [("storage", Warning)]);
    let clustered = with(|f, _| {
        f.server.cluster = Some("c".into());
        there(f).config.num_replicas = 3;
    });
    assert_eq!(clustered, [("replicas", Warning)]);
}
