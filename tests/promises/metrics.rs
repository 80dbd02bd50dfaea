//! What is counted is documented, true, and told once; rules and dashboards ask for nothing else.

mod asked;
mod told;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use async_nats::HeaderMap;
use avouch_tests::database::SHARDS;
use avouch_tests::metrics::{self, Exported};
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admin::{client, problem};
use crate::control::Desk;
use crate::docs::{read, section, table};
use crate::ground::Ground;
use crate::hostile::guest::Guest;
use crate::hostile::running::{committed, deploy, deploy_with, prepare, prepare_as};
use crate::notify::Receiver;
use crate::notify::asked::address_of;
use crate::producers::url_of;
use crate::schema::File;

/// A metric as its page has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Documented {
    sort: String,
    labels: BTreeSet<String>,
}

/// All that stand on the page.
pub fn documented() -> BTreeMap<String, Documented> {
    let page = read("docs/metrics.md");
    let rows = table(section(&page, "## What there is"));
    let of = |row: &Vec<String>| {
        let words = row[2].split('`').skip(1).step_by(2).map(str::to_owned);
        (row[0].trim_matches('`').to_owned(), Documented { sort: row[1].clone(), labels: words.collect() })
    };
    rows.iter().map(of).collect()
}

/// Larger than the server takes: 1 MiB, unless it is configured.
const TOO_LARGE: &str = "insert into avouch.outbox (topic, payload) values ('orders.large', repeat('x', 2 << 20))";
const CONSUMERS: &str = "[consumer.billing]\ntopics = [\"orders.created\"]\ndeadline_ms = 2000\n[consumer.shop]\n\
                         [receipts]\nevery_ms = 100\ngrace_ms = 1000\n[recovery]\nevery_ms = 50\n[upkeep]\nevery_ms = 50\n\
                         [checkback]\npoll_max_ms = 50\n[[alarm]]\ncommand = [\"false\"]\n[trace]\nendpoint = \"http://127.0.0.1:9\"\nroot = true\n[relay]\nsafety_poll_ms = 100\n";
const NOTIFY: &str = "[notify]\ntopics = [\"payments.>\"]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\nevery_ms = 20\n\
                      listen = \"127.0.0.1:0\"\n";
const ORDERS: i32 = 40;

/// A database, a broker and a runtime in which a little of everything has happened.
struct Busy {
    desk: Desk,
    port: u16,
    _avouch: avouch_tests::process::Avouch,
    _merchant: Receiver,
}

/// A binding to this database, as a role that may do nothing.
async fn binding(ground: &Ground) -> String {
    let role = format!("role_{}", Uuid::now_v7().simple());
    ground.client.batch_execute(&format!("create role {role} login")).await.expect("the owner may");
    format!("[binding.sql.db]\nurl = \"{}\"\n", url_of(&ground.database, &role))
}

impl Busy {
    async fn new() -> Busy {
        let (desk, port) = (Desk::new().await, metrics::free_port());
        let merchant = Receiver::new(200).await;
        let binding = binding(&desk.ground).await;
        let section = merchant.section("merchant", "");
        let settings = format!("{CONSUMERS}{NOTIFY}{section}{binding}{}", metrics::config(port));
        let file = File::new("avouch.toml", &desk.ground.config(&settings));
        deploy(&file, Guest::good().named("good")).await.succeeds();
        let asking = Guest::querying(&[("q", "select 1 where false")]).named("asking");
        deploy_with(&file, asking, &["--grant", "sql:db"]).await.succeeds();
        let avouch = desk.runtime(&settings).await;
        let answering = address_of(&avouch).await;
        let busy = Busy { desk, port, _avouch: avouch, _merchant: merchant };
        problem(client().get(format!("http://{answering}/v1/notify/windows")), 401).await;
        busy.consume().await;
        busy.lose().await;
        busy.ask().await;
        committed(&busy.desk.ground, prepare(&busy.desk.ground, "good").await).await;
        committed(&busy.desk.ground, prepare_as(&busy.desk.ground, "asking", "q").await).await;
        busy.desk.ground.client.batch_execute(TOO_LARGE).await.expect("the outbox takes it");
        busy.desk.ground.insert("payments.settled", 1, 0, 1).await;
        busy
    }

    async fn consumer(&self) -> async_nats::jetstream::consumer::PullConsumer {
        until("the durable is made", secs(30), async || {
            let stream = self.desk.ground.jetstream.get_stream(&self.desk.ground.names.stream).await.ok()?;
            stream.get_consumer("billing").await.ok()
        })
        .await
    }

    /// Messages that are acknowledged.
    async fn consume(&self) {
        let consumer = self.consumer().await;
        self.desk.ground.insert("orders.created", 7, 0, ORDERS).await;
        let mut messages = consumer.messages().await.expect("a consumer can be read");
        for _ in 0..ORDERS {
            let message = messages.next().await.expect("it does not end").expect("it can be read");
            message.ack().await.expect("the server runs");
        }
        let consumed = async || (self.desk.ground.count("consumed").await == i64::from(ORDERS)).then_some(());
        until("they are consumed", secs(30), consumed).await;
    }

    /// One that the broker loses before anybody has had it.
    async fn lose(&self) {
        self.desk.ground.insert("orders.created", 1, 0, 1).await;
        self.desk.ground.drained().await;
        let stream = self.desk.ground.jetstream.get_stream(&self.desk.ground.names.stream).await;
        stream.expect("it was made").purge().await.expect("is allowed");
        self.until("it is sent again", |m| m.sum("avouch_resent_total", &[("consumer", "billing")]) >= 1.0).await;
    }

    /// A consumer asks, acts, and says so; and another time with a token that is stale.
    async fn ask(&self) {
        let mut headers = HeaderMap::new();
        headers.insert("Avouch-Id", Uuid::now_v7().to_string().as_str());
        let nats = &self.desk.nats;
        let mut answers = Vec::new();
        for _ in 0..2 {
            let subject = "avouch.v1.inbox.begin.shop";
            let answer = nats.request_with_headers(subject, headers.clone(), "{}".into()).await.expect("it answers");
            answers.push(serde_json::from_slice::<Value>(&answer.payload).expect("an answer is JSON"));
        }
        assert_eq!([&answers[0]["decision"], &answers[1]["decision"]], ["run", "busy"]);
        for token in [json!(0), answers[0]["token"].clone()] {
            let body = json!({ "key": answers[0]["key"], "token": token }).to_string();
            nats.request("avouch.v1.inbox.complete.shop", body.into()).await.expect("it answers");
        }
    }

    /// Fetches until this is true.
    async fn until(&self, what: &str, is_true: impl Fn(&Exported) -> bool) -> Exported {
        until(what, secs(30), async || metrics::fetch(self.port).await.filter(|m| is_true(m))).await
    }
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_exported() {
    let busy = Busy::new().await;
    let documented = documented();
    let is_all = |m: &Exported| documented.keys().all(|name| m.0.get(name).is_some_and(|m| !m.samples.is_empty()));
    let last = metrics::fetch(busy.port).await.expect("it serves them");
    let lacking: Vec<_> = documented.keys().filter(|name| !last.0.contains_key(*name)).collect();
    let exported = busy.until(&format!("these, documented and not exported yet: {lacking:?}"), is_all).await;
    for (name, metric) in exported.0.iter().filter(|(name, _)| name.starts_with("avouch_")) {
        let wanted = documented.get(name).unwrap_or_else(|| panic!("docs/metrics.md lacks {name}"));
        assert!(metric.help.is_some(), "{name} does not say what it is: add it to meters::ALL");
        for sample in &metric.samples {
            let labels = sample.labels.keys().filter(|label| *label != "le").cloned().collect();
            assert_eq!(*wanted, Documented { sort: metric.sort.clone(), labels }, "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_counted_has_happened() {
    let busy = Busy::new().await;
    let dead = |m: &Exported| m.sum("avouch_messages", &[("state", "dead"), ("topic", "orders.large")]);
    let told = busy
        .until("the dead one is told, and nothing is left to do", |m| {
            dead(m) == 1.0
                && m.sum("avouch_sleep_answers_total", &[("answer", "granted")]) >= 1.0
                && m.sum("avouch_notify_attempts_total", &[]) >= 1.0
        })
        .await;
    let orders = f64::from(ORDERS) + 1.0;
    let is = |name: &str, labels: &[(&str, &str)], value: f64| assert_eq!(told.sum(name, labels), value, "{name}");
    is("avouch_published_total", &[("topic", "orders.created"), ("stream", &busy.desk.ground.names.stream)], orders);
    is("avouch_dead_total", &[("topic", "orders.large"), ("class", "too_large")], 1.0);
    is("avouch_dead_total", &[], 1.0);
    is("avouch_alarms_total", &[("kind", "dead")], 1.0);
    is("avouch_receipts_total", &[("consumer", "billing"), ("evidence", "ack")], f64::from(ORDERS));
    is("avouch_resends_total", &[("consumer", "billing"), ("cause", "lost")], 1.0);
    is("avouch_resends_total", &[("cause", "unreceipted")], 0.0);
    is("avouch_inbox_decisions_total", &[("consumer", "shop"), ("decision", "run")], 1.0);
    is("avouch_inbox_decisions_total", &[("consumer", "shop"), ("decision", "busy")], 1.0);
    is("avouch_inbox_finishes_total", &[("consumer", "shop"), ("decision", "fenced")], 1.0);
    is("avouch_inbox_finishes_total", &[("consumer", "shop"), ("decision", "done")], 1.0);
    is("avouch_verdicts_total", &[("checker", "good"), ("verdict", "commit")], 1.0);
    is("avouch_transactions_settled_total", &[("checker", "good"), ("outcome", "commit")], 1.0);
    for name in ["avouch_plugin_call_seconds", "avouch_plugin_computing_seconds", "avouch_plugin_wait_seconds"] {
        is(name, &[("plugin", "good")], 1.0);
    }
    is("avouch_binding_wait_seconds", &[("binding", "db")], 1.0);
    is("avouch_binding_connections_used", &[("binding", "db")], 0.0);
    let spent = |name: &str| told.total(name, &[("plugin", "good")]);
    let (computed, took) = (spent("avouch_plugin_computing_seconds"), spent("avouch_plugin_call_seconds"));
    assert!(computed > 0.0 && computed <= took, "{computed} of {took} s");
    is("avouch_shards_owned", &[], f64::from(SHARDS));
    is("avouch_shard_changes_total", &[("change", "taken")], f64::from(SHARDS));
    is("avouch_leases_lost_total", &[], 0.0);
    is("avouch_awaited_receipts", &[("consumer", "billing")], 1.0);
    for name in ["avouch_publish_seconds", "avouch_insert_to_ack_seconds"] {
        assert!(told.sum(name, &[]) >= orders && told.total(name, &[]) > 0.0, "{name}");
    }
    assert!(told.total("avouch_mark_rows", &[]) >= orders && told.total("avouch_read_rows", &[]) >= orders);
    assert!(told.sum("avouch_doorbell_rings_total", &[("what", "rows")]) >= 1.0);
    is("avouch_notify_attempts_total", &[("endpoint", "merchant"), ("outcome", "delivered")], 1.0);
    is("avouch_notify_attempts_total", &[], 1.0);
    is("avouch_notify_attempt_seconds", &[("endpoint", "merchant")], 1.0);
    is("avouch_notify_asks_total", &[("status", "401")], 1.0);
    let open = told.sum("avouch_database_connections", &[]);
    let made = told.sum("avouch_database_connections_made_total", &[]);
    assert_eq!(open, made - told.sum("avouch_database_connections_lost_total", &[]));
    is("avouch_database_connections", &[("use", "doorbell")], 1.0);
}

#[tokio::test]
async fn topics_beyond_the_bound_are_told_as_one() {
    let (ground, port) = (Ground::new().await, metrics::free_port());
    let settings = format!("{}labels_max = 2\n[topic.configured]\n", metrics::config(port));
    let _avouch = ground.runtime(&settings).await;
    for n in 0..20 {
        ground.insert(&format!("topic-{n}"), 1, 0, 1).await;
    }
    ground.insert("configured", 1, 0, 1).await;
    let all = |m: &Exported| m.sum("avouch_published_total", &[]) == 21.0;
    let told = until("all are counted", secs(30), async || metrics::fetch(port).await.filter(all)).await;
    let topics: BTreeSet<&str> =
        told.0["avouch_published_total"].samples.iter().map(|sample| sample.labels["topic"].as_str()).collect();
    assert_eq!(topics.len(), 3, "{topics:?}");
    assert!(topics.contains("configured") && topics.contains("(other)"), "{topics:?}");
}

#[tokio::test]
async fn plugins_beyond_the_bound_are_told_as_one() {
    let (ground, port) = (Ground::new().await, metrics::free_port());
    let settings = format!("{}labels_max = 1\n", metrics::config(port));
    let file = File::new("avouch.toml", &ground.config(&settings));
    for name in ["first", "second", "third"] {
        deploy(&file, Guest::good().named(name)).await.succeeds();
    }
    let _avouch = ground.runtime(&settings).await;
    for name in ["first", "second", "third"] {
        committed(&ground, prepare(&ground, name).await).await;
    }
    let all = |m: &Exported| m.sum("avouch_plugin_calls_total", &[("outcome", "answered")]) == 3.0;
    let told = until("all are counted", secs(30), async || metrics::fetch(port).await.filter(all)).await;
    let names = |metric: &str| -> BTreeSet<String> {
        told.0[metric].samples.iter().map(|sample| sample.labels["plugin"].clone()).collect()
    };
    for metric in ["avouch_plugin_calls_total", "avouch_plugin_call_seconds"] {
        assert!(names(metric).len() == 2 && names(metric).contains("(other)"), "{metric}: {:?}", names(metric));
    }
}

#[tokio::test]
async fn tries_of_an_endpoint_are_counted_from_nought() {
    let (ground, port, merchant) = (Ground::new().await, metrics::free_port(), Receiver::new(200).await);
    let settings = format!("{NOTIFY}{}{}", merchant.section("merchant", ""), metrics::config(port));
    let _avouch = ground.runtime(&settings).await;
    let told = until("the endpoint is known", secs(30), async || {
        metrics::fetch(port).await.filter(|m| m.0.contains_key("avouch_notify_attempts_total"))
    })
    .await;
    let samples = &told.0["avouch_notify_attempts_total"].samples;
    let outcomes: BTreeSet<&str> = samples.iter().map(|sample| sample.labels["outcome"].as_str()).collect();
    assert_eq!(outcomes, BTreeSet::from(["delivered", "retry", "given_up", "disabled", "postponed"]));
    assert_eq!(told.sum("avouch_notify_attempts_total", &[("endpoint", "merchant")]), 0.0, "nobody was told anything");
}
