//! A broker that forgets what it had acknowledged: noticed, told, and what was not consumed is sent again before anything new.

mod cluster;
mod database;
mod instances;

use std::path::PathBuf;
use std::process::Command;

use async_nats::jetstream::Message;
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::OwnNats;
use avouch_tests::stream::{Stored, jetstream_at};
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt;

use crate::ground::{Ground, drained};

const QUICK: &str = "[relay]\nretry_first_ms = 50\nretry_max_ms = 200\n[receipts]\nevery_ms = 100\ngrace_ms = 200\n";
/// A consumer of `orders`; nobody is waited for where the topic is `plain`.
const BILLING: &str = "[consumer.billing]\ntopics = [\"orders\"]\nack_wait_ms = 1000\n";

/// A broker of the test's own, and a runtime that sends to it.
struct Broken {
    nats: OwnNats,
    ground: Ground,
    avouch: Avouch,
}

impl Broken {
    async fn start() -> Broken {
        let nats = OwnNats::start().await;
        let ground = Ground::with(Database::create().await, nats.url(), jetstream_at(&nats.url()).await).await;
        let avouch = ground.runtime(&format!("{BILLING}{QUICK}")).await;
        Broken { nats, ground, avouch }
    }

    /// So many of the next messages, acknowledged.
    async fn consume(&self, count: usize) -> Vec<Message> {
        let mut taken = Vec::new();
        until(&format!("{count} messages to consume"), secs(30), async || {
            let stream = self.ground.jetstream.get_stream(&self.ground.names.stream).await.ok()?;
            let durable = stream.get_consumer::<async_nats::jetstream::consumer::pull::Config>("billing").await.ok()?;
            let mut batch = durable.fetch().max_messages(count - taken.len()).messages().await.ok()?;
            while let Some(Ok(message)) = batch.next().await {
                message.double_ack().await.ok()?;
                taken.push(message);
            }
            (taken.len() >= count).then_some(())
        })
        .await;
        taken
    }

    async fn count(&self, filter: &str) -> i64 {
        let sql = format!("select count(*) from avouch.outbox where {filter}");
        self.ground.client.query_one(&sql, &[]).await.expect("the server runs").get(0)
    }

    async fn until_consumed(&self, count: i64) {
        until(&format!("{count} to be consumed"), secs(30), async || {
            (self.count("state = 'consumed'").await == count).then_some(())
        })
        .await;
    }

    async fn server_again(&mut self) {
        self.nats.start_again().await.expect("its port is free");
        self.ground.jetstream = jetstream_at(&self.nats.url()).await;
    }

    /// What the stream holds, as `(payload, generation)`.
    async fn held(&self) -> Vec<(String, String)> {
        let name = &self.ground.names.stream;
        until("the stream to be made", secs(30), async || self.ground.jetstream.get_stream(name).await.ok()).await;
        self.ground.stream().await.iter().map(told).collect()
    }

    /// The same, once there are so many.
    async fn held_of(&self, count: u64) -> Vec<(String, String)> {
        until(&format!("the stream to hold {count}"), secs(60), async || {
            let stream = self.ground.jetstream.get_stream(&self.ground.names.stream).await.ok()?;
            (stream.cached_info().state.messages >= count).then_some(())
        })
        .await;
        self.held().await
    }

    /// What `avouch status` says of the last loss.
    async fn loss(&self) -> (String, i64, i64) {
        let sql = "select l.reason, l.requeued, (select count(*) from avouch.shard h where h.requeued < l.id) \
                   from avouch.loss l order by l.id desc limit 1";
        let row = self.ground.client.query_one(sql, &[]).await.expect("there is one");
        (row.get(0), row.get(1), row.get(2))
    }

    fn store(&self) -> PathBuf {
        self.nats.dir().join("store")
    }

    fn copy(&self) -> PathBuf {
        self.nats.dir().join("copy")
    }

    /// Copies the store, as it is on the disk of a server that does not run.
    async fn keep_copy(&mut self) {
        self.nats.stop().await.expect("it runs");
        run("cp", &["-a", path(&self.store()), path(&self.copy())]);
        self.server_again().await;
        drained(&self.ground.client, secs(60)).await;
    }

    /// The power goes, and with it what was not synced since the copy.
    async fn fall_back(&mut self) {
        self.nats.kill().expect("it runs");
        run("rm", &["-rf", path(&self.store())]);
        run("cp", &["-a", path(&self.copy()), path(&self.store())]);
    }
}

fn told(stored: &Stored) -> (String, String) {
    let generation = stored.header("Avouch-Generation").unwrap_or("foreign").to_owned();
    (String::from_utf8_lossy(&stored.payload).into_owned(), generation)
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("the target directory has a UTF-8 name")
}

fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().expect("it is installed").success(), "{program} {args:?}");
}

/// `key:step` of these steps, for ten keys in turn.
fn steps(steps: impl Iterator<Item = i32>, generation: &str) -> Vec<(String, String)> {
    steps.map(|n| (format!("{}:{n}", n % 10), generation.to_owned())).collect()
}

/// In the order of each key, whatever the order among keys.
fn by_key(mut held: Vec<(String, String)>) -> Vec<(String, String)> {
    held.sort_by_key(|(payload, _)| payload.split(':').next().map(str::to_owned));
    held
}

#[tokio::test]
async fn wiped_store_gets_what_was_not_consumed_again_and_before_anything_new() {
    let mut broken = Broken::start().await;
    broken.ground.insert("orders", 10, 0, 100).await;
    broken.ground.drained().await;
    broken.consume(60).await;
    broken.until_consumed(60).await;
    broken.ground.insert("plain", 10, 100, 150).await;
    broken.ground.drained().await;
    let consumed = broken.held().await[..60].to_vec();
    broken.nats.kill().expect("it runs");
    run("rm", &["-rf", path(&broken.store())]);
    // New ones wait behind what is missing.
    broken.ground.insert("orders", 10, 150, 200).await;
    broken.server_again().await;
    broken.ground.drained().await;
    let lost = steps(0..150, "0").into_iter().filter(|m| !consumed.contains(m)).map(|(m, _)| (m, "1".to_owned()));
    let wanted: Vec<_> = lost.chain(steps(150..200, "0")).collect();
    assert_eq!(by_key(broken.held().await), by_key(wanted));
    let (reason, requeued, left) = broken.loss().await;
    assert!(reason.starts_with("it was made anew at "), "{reason}");
    assert_eq!((requeued, left), (90, 0));
    let status = crate::cli::avouch(&["--database-url", broken.ground.database.url(), "status"], &[]).await.succeeds();
    assert!(
        status.text.contains("it was made anew at ") && status.text.contains("; 90 sent again\n"),
        "{}",
        status.text
    );
    broken.avouch.wait_for_log("the broker has lost what it had acknowledged", secs(30)).await;
    broken.consume(90).await;
    broken.until_consumed(150).await;
}

#[tokio::test]
async fn stream_that_is_made_anew_under_a_running_relay_is_noticed_though_nothing_fails() {
    let broken = Broken::start().await;
    broken.ground.insert("orders", 10, 0, 100).await;
    broken.ground.drained().await;
    broken.consume(50).await;
    broken.until_consumed(50).await;
    let name = &broken.ground.names.stream;
    let config = broken.ground.jetstream.get_stream(name).await.expect("it was made").cached_info().config.clone();
    broken.ground.jetstream.delete_stream(name).await.expect("it was made");
    broken.ground.jetstream.create_stream(config).await.expect("it is valid");
    // Nobody sends anything: the next look at it tells.
    let held = broken.held_of(50).await;
    assert!(held.iter().all(|(_, generation)| generation == "1"));
    broken.consume(50).await;
    broken.until_consumed(100).await;
}

#[tokio::test]
async fn store_that_fell_back_gets_exactly_what_it_lost_and_nobody_had_consumed() {
    let mut broken = Broken::start().await;
    broken.ground.insert("orders", 10, 0, 60).await;
    broken.ground.drained().await;
    broken.consume(20).await;
    broken.until_consumed(20).await;
    broken.keep_copy().await;
    // 20 to 59 wait in the copy; of 60 to 99 the first are consumed.
    broken.ground.insert("orders", 10, 60, 100).await;
    broken.ground.drained().await;
    broken.consume(60).await;
    broken.until_consumed(80).await;
    let consumed = broken.held().await[60..80].to_vec();
    broken.ground.insert("plain", 10, 100, 120).await;
    broken.ground.drained().await;
    broken.fall_back().await;
    broken.server_again().await;
    broken.ground.insert("orders", 10, 120, 130).await;
    broken.ground.drained().await;
    let lost = steps(60..120, "0").into_iter().filter(|m| !consumed.contains(m)).map(|(m, _)| (m, "1".to_owned()));
    let wanted: Vec<_> = lost.chain(steps(120..130, "0")).collect();
    let held = broken.held().await;
    assert_eq!(by_key(held[60..].to_vec()), by_key(wanted));
    let (reason, requeued, left) = broken.loss().await;
    assert_eq!((reason.as_str(), requeued, left), ("it fell back from 120 to 60", 40, 0));
    // The copy's consumer had 20 to 59 before it: they come twice, and what was sent again once.
    broken.consume(70).await;
    broken.until_consumed(110).await;
    assert_eq!(broken.count("state = 'sent'").await, 20, "what nobody is waited for");
}

#[tokio::test]
async fn store_that_fell_back_and_was_filled_by_others_is_told_by_what_it_holds() {
    let mut broken = Broken::start().await;
    broken.ground.insert("orders", 10, 0, 10).await;
    broken.ground.drained().await;
    broken.keep_copy().await;
    broken.ground.insert("orders", 10, 10, 20).await;
    broken.ground.drained().await;
    broken.avouch.kill();
    broken.fall_back().await;
    broken.server_again().await;
    for n in 0..30 {
        let subject = format!("{}.elsewhere", broken.ground.names.prefix);
        let published = broken.ground.jetstream.publish(subject, format!("{n}").into()).await.expect("it is sent");
        published.await.expect("the broker has it");
    }
    broken.avouch = broken.ground.runtime(&format!("{BILLING}{QUICK}")).await;
    let held = broken.held_of(50).await;
    assert_eq!(by_key(held[40..].to_vec()), by_key(steps(10..20, "1")));
    assert_eq!(broken.loss().await.0, "it holds another message at 20 than it had acknowledged");
}

#[tokio::test]
async fn purged_stream_is_told_and_its_consumers_get_what_they_had_not_finished() {
    let broken = Broken::start().await;
    broken.ground.client.batch_execute("update avouch.consumer set deadline_ms = 300").await.expect("is valid");
    broken.ground.insert("orders", 10, 0, 20).await;
    broken.ground.drained().await;
    broken.consume(10).await;
    broken.until_consumed(10).await;
    let stream = broken.ground.jetstream.get_stream(&broken.ground.names.stream).await.expect("it was made");
    stream.purge().await.expect("is allowed");
    broken.avouch.wait_for_log("the broker does not hold it any more", secs(30)).await;
    broken.avouch.wait_for_log(r#""alarm":"broker_lost""#, secs(1)).await;
    let again = broken.consume(10).await;
    assert!(again.iter().all(|m| m.subject.contains(".billing.orders")), "to this consumer alone");
    broken.until_consumed(20).await;
}
