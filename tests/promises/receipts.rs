//! A message is done when its consumers are: receipts, and what becomes of messages without one.

mod beside;
mod configured;
mod confirmed;
mod crash;
mod rechecked;
mod recovery;
mod retention;

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::shared;
use avouch_tests::stream::{Names, jetstream_at};
use avouch_tests::wait::until;
use futures_util::StreamExt;
use serde_json::json;
use uuid::Uuid;

use crate::cli::{Told, avouch};
use crate::relayed::{LIMIT, Relayed, config};
use crate::schema::File;

/// Quick enough for a test.
const QUICK: &str = "every_ms = 100\ngrace_ms = 200\n";

/// A relay, and the consumers of these settings.
struct Followed {
    relayed: Relayed,
    settings: String,
}

impl Followed {
    async fn start(consumers: &str) -> Followed {
        Followed::with(consumers, "").await
    }

    /// With these settings of `[recovery]`.
    async fn with(consumers: &str, recovery: &str) -> Followed {
        Followed::of(&format!("{consumers}\n[recovery]\nevery_ms = 50\n{recovery}[upkeep]\nevery_ms = 200\n"), "").await
    }

    /// Messages are kept for an hour, in the database and in the stream.
    async fn stream_of_an_hour(consumers: &str) -> Followed {
        Followed::of(&format!("{consumers}\n[upkeep]\nevery_ms = 200\nkeep_hours = 1\n"), "max_age_s = 3600\n").await
    }

    /// With these settings before the rest, and of the stream.
    async fn of(settings: &str, stream: &str) -> Followed {
        let events = Uuid::now_v7().simple();
        let settings = format!(
            "{settings}[receipts]\n{QUICK}events_stream = \"EVENTS_{events}\"\nevents_bytes_max = 16_000_000\n"
        );
        let (database, nats, names) = (Database::create().await, shared().nats.url(), Names::unique());
        let avouch = Avouch::run(&format!("{}{stream}", config(&database, &nats, &names, &settings))).await;
        let (client, jetstream) = (database.client().await, jetstream_at(&nats).await);
        Followed { relayed: Relayed { database, names, client, jetstream, avouch }, settings }
    }

    /// Another runtime with the same settings.
    async fn again(&mut self) {
        let config = config(&self.relayed.database, &shared().nats.url(), &self.relayed.names, &self.settings);
        self.relayed.avouch = Avouch::run(&config).await;
    }

    async fn durable(&self, name: &str) -> PullConsumer {
        until(&format!("durable {name} is made"), LIMIT, async || {
            let stream = self.relayed.jetstream.get_stream(&self.relayed.names.stream).await.ok()?;
            stream.get_consumer(name).await.ok()
        })
        .await
    }

    /// The next message of a consumer.
    async fn next(&self, name: &str) -> Message {
        let durable = self.durable(name).await;
        until(&format!("{name} gets a message"), LIMIT, async || {
            let mut batch = durable.batch().max_messages(1).expires(Duration::from_secs(1)).messages().await.ok()?;
            batch.next().await?.ok()
        })
        .await
    }

    async fn state(&self, id: Uuid) -> String {
        let sql = "select state from avouch.outbox where id = $1";
        self.relayed.client.query_one(sql, &[&id]).await.expect("it is there").get(0)
    }

    async fn awaits(&self, id: Uuid) -> Vec<String> {
        let sql = "select coalesce(array_agg(c.name order by c.name), '{}') from avouch.outbox o \
                   join avouch.consumer c on c.id = any (o.awaiting) where o.id = $1";
        self.relayed.client.query_one(sql, &[&id]).await.expect("it is there").get(0)
    }

    async fn sql(&self, sql: &str) {
        self.relayed.client.batch_execute(sql).await.expect("is valid");
    }

    /// What the command prints.
    async fn cli(&self, args: &[&str]) -> String {
        self.command(args).await.succeeds().text
    }

    /// How the command ends.
    async fn command(&self, args: &[&str]) -> Told {
        let config = config(&self.relayed.database, &shared().nats.url(), &self.relayed.names, &self.settings);
        let file = File::new("avouch.toml", &config);
        avouch(&[&["--config", file.path()], args].concat(), &[]).await
    }
}

const ACK: &str = "[consumer.billing]\ntopics = [\"orders.>\"]\nack_wait_ms = 500\ndeadline_ms = 500\n";

#[tokio::test]
async fn message_is_consumed_once_every_required_consumer_has_acknowledged_it() {
    let two = format!(
        "{ACK}[consumer.stock]\ntopics = [\"orders.created\"]\n[consumer.watcher]\ntopics = [\">\"]\nrequired = false\n"
    );
    let followed = Followed::start(&two).await;
    followed.durable("stock").await;
    let both = followed.relayed.insert("orders.created", "1", "{}").await;
    let one = followed.relayed.insert("orders.paid", "1", "{}").await;
    let none = followed.relayed.insert("other", "1", "{}").await;
    for id in [both, one, none] {
        followed.relayed.in_state(id, "sent").await;
    }
    assert_eq!(followed.awaits(both).await, ["billing", "stock"]);
    assert_eq!(followed.awaits(one).await, ["billing"]);
    for _ in 0..2 {
        followed.next("billing").await.ack().await.expect("it is sent");
    }
    followed.relayed.in_state(one, "consumed").await;
    assert_eq!((followed.state(both).await.as_str(), followed.awaits(both).await), ("sent", vec!["stock".to_owned()]));
    followed.next("stock").await.ack().await.expect("it is sent");
    followed.relayed.in_state(both, "consumed").await;
    // Nobody is required to have this one: it ends as sent, though the watcher gets it.
    assert_eq!(followed.state(none).await, "sent");
    let subjects =
        async { [followed.next("watcher").await, followed.next("watcher").await, followed.next("watcher").await] };
    assert!(subjects.await.iter().any(|m| m.subject.ends_with(".other")));
}

#[tokio::test]
async fn acknowledgements_of_a_time_without_a_runtime_are_found_when_one_is_back() {
    let mut followed = Followed::start(ACK).await;
    followed.durable("billing").await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(followed.relayed.insert("orders.created", &n.to_string(), "{}").await);
    }
    for id in &ids {
        followed.relayed.in_state(*id, "sent").await;
    }
    followed.relayed.avouch.kill();
    for _ in &ids {
        followed.next("billing").await.double_ack().await.expect("the broker has it");
    }
    followed.again().await;
    for id in &ids {
        followed.relayed.in_state(*id, "consumed").await;
    }
    let again = followed.relayed.jetstream.get_stream(&followed.relayed.names.stream).await.expect("it was made");
    assert_eq!(again.cached_info().state.messages, 20, "none was sent again");
}

#[tokio::test]
async fn record_in_the_inbox_is_the_receipt_of_consumers_that_ask() {
    let inbox =
        "[consumer.billing]\ntopics = [\"orders.>\"]\nreceipt = \"inbox\"\ndeadline_ms = 500\nack_wait_ms = 500\n";
    let followed = Followed::start(inbox).await;
    let (done, failed) = (
        followed.relayed.insert("orders.created", "1", "{}").await,
        followed.relayed.insert("orders.created", "2", "{}").await,
    );
    for _ in 0..2 {
        let message = followed.next("billing").await;
        let id = message.headers.as_ref().and_then(|h| h.get("Avouch-Id")).expect("it has one").to_string();
        // Acknowledged before it is done: that is no receipt here.
        message.ack().await.expect("it is sent");
        if id == done.to_string() {
            followed.sql(&format!("select avouch.inbox_once('billing', '{id}')")).await;
        } else {
            followed
                .sql(&format!(
                    "select avouch.inbox_fail('billing', b.k, b.token, 'no such order', true) \
                     from (select '{id}'::text k, token from avouch.inbox_begin('billing', '{id}')) b"
                ))
                .await;
        }
    }
    followed.relayed.in_state(done, "consumed").await;
    let reason = followed.relayed.in_state(failed, "dead").await.expect("it has one");
    assert_eq!(reason, "billing: no such order");
    // A late receipt lifts it.
    let key = failed.to_string();
    followed.sql(&format!("select avouch.inbox_decide('billing', '{key}', 'done')")).await;
    followed.relayed.in_state(failed, "consumed").await;
}

#[tokio::test]
async fn new_consumer_is_waited_for_from_its_start_and_a_removed_one_no_more() {
    let mut followed = Followed::start(ACK).await;
    followed.durable("billing").await;
    let before = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(before, "sent").await;
    followed.settings = format!("[consumer.stock]\ntopics = [\"orders.>\"]\nstart = \"new\"\n{}", followed.settings);
    followed.again().await;
    followed.durable("stock").await;
    let after = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(after, "sent").await;
    assert_eq!(followed.awaits(before).await, ["billing"]);
    assert_eq!(followed.awaits(after).await, ["billing", "stock"]);
    for _ in 0..2 {
        followed.next("billing").await.ack().await.expect("it is sent");
    }
    followed.relayed.in_state(before, "consumed").await;
    followed.sql("select avouch.remove_consumer('stock', 'moved away')").await;
    followed.relayed.in_state(after, "consumed").await;
    let audited = "select detail from avouch.audit where action = 'remove consumer' and subject = 'stock'";
    let detail: String = followed.relayed.client.query_one(audited, &[]).await.expect("it is audited").get(0);
    assert_eq!(detail, "moved away");
}

#[tokio::test]
async fn terminated_message_is_dead_for_its_consumer_and_can_be_sent_to_it_again() {
    let both = format!("{ACK}[consumer.stock]\ntopics = [\"orders.>\"]\n");
    let followed = Followed::start(&both).await;
    followed.durable("stock").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.next("stock").await.ack().await.expect("it is sent");
    followed.next("billing").await.ack_with(AckKind::Term).await.expect("it is sent");
    let reason = followed.relayed.in_state(id, "dead").await.expect("it has one");
    assert!(reason.starts_with("billing: terminated"), "{reason}");
    followed.sql(&format!("select avouch.resend('{id}')")).await;
    let again = followed.next("billing").await;
    assert!(
        again.subject.starts_with("redo.billing.orders.created") || again.subject.contains(".billing.orders.created"),
        "{}",
        again.subject
    );
    let headers = again.headers.clone().expect("it has some");
    assert_eq!(headers.get("Avouch-Generation").map(ToString::to_string), Some("1".into()));
    assert_eq!(headers.get("Nats-Msg-Id").map(ToString::to_string), Some(format!("{id}:1")));
    again.ack().await.expect("it is sent");
    followed.relayed.in_state(id, "consumed").await;
    assert_eq!(
        json!(followed.durable("stock").await.cached_info().num_pending),
        json!(0),
        "the other one did not get it again"
    );
}
