//! Many endpoints, some of which hang, and many retries that wait: the others are not delayed, and memory does not grow with them.

use std::time::Duration;

use avouch_tests::wait::{secs, until};
use avouch_tests::web::{Web, reply};

use super::{Notified, Receiver, SECRET};
use crate::ground::rounds;

const HANGING: usize = 5;

/// `AVOUCH_TEST_ENDPOINTS` chooses how many; 500 is what the documents speak of.
#[tokio::test]
async fn endpoints_that_hang_do_not_delay_the_others() {
    let count = usize::try_from(rounds("AVOUCH_TEST_ENDPOINTS", 100)).expect("is small");
    let web = Web::start(|asked, socket| async move {
        if asked.path().starts_with("/hangs") {
            tokio::time::sleep(secs(600)).await;
        }
        reply(socket, 200, String::new(), Vec::new()).await;
    })
    .await;
    let section = |name: &str| {
        format!(
            "[endpoint.{name}]\nurl = \"{}/{name}\"\ntopics = [\"payments.>\"]\nsecrets = [\"{SECRET}\"]\ntimeout_ms = 300000\n",
            web.origin()
        )
    };
    let works: String = (HANGING..count).map(|n| section(&format!("works{n}"))).collect();
    let hangs: String = (0..HANGING).map(|n| section(&format!("hangs{n}"))).collect();
    let alone = Notified::new(&works).await;
    let (alone_p50, alone_p99) = delays(&alone, count - HANGING).await;
    drop(alone);
    let beside = Notified::new(&format!("{works}{hangs}")).await;
    // All of them hang by now: everything after this is told beside them.
    beside.insert_many(3, 3).await;
    until("the hanging ones hang", secs(60), async || {
        (web.asked().iter().filter(|a| a.path().starts_with("/hangs")).count() >= HANGING).then_some(())
    })
    .await;
    beside_settled(&beside, count - HANGING, 3).await;
    let (p50, p99) = delays(&beside, count - HANGING).await;
    println!(
        "{count} endpoints: p50 {alone_p50:?} p99 {alone_p99:?} alone; beside {HANGING} that hang p50 {p50:?} p99 {p99:?}"
    );
    // Every healthy one was told while those that hang still do: nothing waited for them.
    let ended =
        "select count(*) from avouch.attempt a join avouch.endpoint e on e.id = a.endpoint where e.name like 'hangs%'";
    let ended: i64 = beside.ground.client.query_one(ended, &[]).await.expect("is valid").get(0);
    assert_eq!(ended, 0, "one of them came back: it says nothing");
}

async fn beside_settled(notified: &Notified, working: usize, messages: i64) {
    until("the healthy ones are told", secs(120), async || {
        let sql = "select count(*) from avouch.delivery d join avouch.endpoint e on e.id = d.endpoint \
                   where e.name like 'works%' and d.state = 'delivered'";
        let told: i64 = notified.ground.client.query_one(sql, &[]).await.expect("is valid").get(0);
        (told >= messages * i64::try_from(working).expect("is small")).then_some(())
    })
    .await;
}

/// From insert to answer, for one message told to all that work: the median and the 99th percentile.
async fn delays(notified: &Notified, working: usize) -> (Duration, Duration) {
    let before: i64 =
        notified.ground.client.query_one("select count(*) from avouch.notice", &[]).await.expect("is valid").get(0);
    let messages = 10;
    notified.insert_many(messages, 10).await;
    beside_settled(notified, working, before + i64::from(messages)).await;
    let sql = "select percentile_cont(array[0.5, 0.99]) within group (order by extract(epoch from d.ended_at - n.created_at)) \
               from avouch.delivery d join avouch.notice n using (message_id) join avouch.endpoint e on e.id = d.endpoint \
               where e.name like 'works%' and n.created_at > clock_timestamp() - interval '5 minutes'";
    let row: Vec<f64> = notified.ground.client.query_one(sql, &[]).await.expect("is valid").get(0);
    (Duration::from_secs_f64(row[0].max(0.0)), Duration::from_secs_f64(row[1].max(0.0)))
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has one");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("it is a number")
}

/// `AVOUCH_TEST_RETRIES` chooses how many; 100,000 is what the documents speak of.
#[tokio::test]
async fn retries_that_wait_survive_a_restart_and_stay_in_the_database() {
    let retries = i64::from(rounds("AVOUCH_TEST_RETRIES", 100_000));
    let receiver = Receiver::new(200).await;
    let mut notified = Notified::new(&receiver.section("merchant", "")).await;
    let sql = format!(
        "with made as (\
           insert into avouch.notice (message_id, topic, key, payload, created_at) \
           select avouch.uuid_v7(), 'payments.settled', n::text, convert_to(repeat('x', 1000), 'UTF8'), now() \
           from generate_series(1, {retries}) n returning message_id) \
         insert into avouch.delivery (endpoint, message_id, attempts, next_at) \
         select e.id, made.message_id, 3, now() + interval '1 hour' from made, avouch.endpoint e; analyze avouch.delivery"
    );
    let before = resident_kib(notified.avouch.pid());
    notified.sql(&sql).await;
    notified.avouch.kill();
    notified.avouch.start_again().await;
    let fresh = notified.insert("1", "{}").await;
    notified.until_count("merchant", "delivered", 1).await;
    assert_eq!(receiver.ids(), [fresh], "what is not due is not told");
    // A hundred megabytes wait: none of them came into memory.
    let after = resident_kib(notified.avouch.pid());
    assert!(after < before + 50_000, "{before} KiB grew to {after} KiB");
    // Some of them are due now, and are told; the others are where they were.
    let due = "update avouch.delivery set next_at = now() where state = 'waiting' and message_id in \
               (select message_id from avouch.delivery where state = 'waiting' order by message_id limit 500)";
    notified.sql(due).await;
    notified.until_count("merchant", "delivered", 501).await;
    assert_eq!(notified.count("merchant", "waiting").await, retries - 500);
    println!("{retries} retries: {before} KiB before, {after} KiB after the restart");
}
