//! Tries follow the schedule; its end is a state that people know, and can undo.

use std::time::Duration;

use avouch_tests::wait::{secs, until};

use super::{LIMIT, Notified, Receiver, id};

/// As the documents have it.
const SCHEDULE_S: [u64; 8] = [60, 300, 600, 1_800, 3_600, 7_200, 18_000, 36_000];

#[tokio::test]
async fn tries_follow_the_schedule_and_end_as_given_up() {
    let receiver = Receiver::new(500).await;
    let notified = Notified::new(&receiver.section("merchant", "")).await;
    let message = notified.insert("1", "{}").await;
    for (place, pause_s) in SCHEDULE_S.iter().enumerate() {
        let number = i32::try_from(place + 1).expect("is small");
        let pause = notified.tried("merchant", message, number).await;
        // Counted from the try's end: the try itself is not part of the pause.
        let late = pause.checked_sub(secs(*pause_s)).unwrap_or(Duration::MAX);
        assert!(late < LIMIT, "after try {number}: {pause:?}, not {pause_s} s");
        notified.pass_time().await;
    }
    notified.until_count("merchant", "given_up", 1).await;
    assert_eq!(receiver.ids(), [message; SCHEDULE_S.len() + 1], "each try under the same webhook-id");
    let numbers: Vec<_> =
        receiver.web.asked().iter().filter_map(|a| a.header("avouch-attempt")?.parse::<usize>().ok()).collect();
    assert_eq!(numbers, (1..=SCHEDULE_S.len() + 1).collect::<Vec<_>>());
    let alarm = notified.avouch.wait_for_log("\"alarm\":\"given_up\"", LIMIT).await;
    assert!(alarm.contains("merchant") && alarm.contains("it answers 500"), "{alarm}");
    until("for the message it is settled", LIMIT, async || {
        (notified.ground.count("consumed").await == 1).then_some(())
    })
    .await;

    // It can be undone: another round.
    receiver.answers(200);
    notified.sql("select avouch.notify_given_up_again('merchant', now() - interval '1 hour')").await;
    notified.until_count("merchant", "delivered", 1).await;
    assert_eq!(receiver.web.asked().last().map(id), Some(message));
    let sql = "select rounds, attempts from avouch.delivery";
    let row = notified.ground.client.query_one(sql, &[]).await.expect("one");
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (2, 1));
}

#[tokio::test]
async fn receiver_that_asks_for_a_longer_pause_gets_it_within_bounds() {
    let receiver = Receiver::with_headers(503, "retry-after: 900\r\n").await;
    let endless = Receiver::with_headers(429, "retry-after: 99999999\r\n").await;
    let notified = Notified::new(&format!("{}{}", receiver.section("busy", ""), endless.section("endless", ""))).await;
    let message = notified.insert("1", "{}").await;
    let (busy, endless) = (notified.tried("busy", message, 1).await, notified.tried("endless", message, 1).await);
    assert!(busy >= secs(900) && busy < secs(1_000), "{busy:?}");
    assert!(endless >= secs(86_400) && endless < secs(86_500), "{endless:?}");
}

#[tokio::test]
async fn receiver_that_is_gone_is_disabled_and_loses_nothing() {
    let (gone, other) = (Receiver::new(410).await, Receiver::new(200).await);
    let notified = Notified::new(&format!("{}{}", gone.section("gone", ""), other.section("other", ""))).await;
    let first = notified.insert("1", "{}").await;
    let alarm = notified.avouch.wait_for_log("\"alarm\":\"endpoint_disabled\"", LIMIT).await;
    assert!(alarm.contains("gone") && alarm.contains("endpoint enable"), "{alarm}");
    until("it is disabled", LIMIT, async || {
        let sql = "select from avouch.endpoint where name = 'gone' and state = 'disabled'";
        notified.ground.client.query_opt(sql, &[]).await.expect("is valid").map(drop)
    })
    .await;
    let asked = gone.web.asked().len();
    let second = notified.insert("1", "{}").await;
    notified.until_count("other", "delivered", 2).await;
    assert_eq!((gone.web.asked().len(), notified.count("gone", "waiting").await), (asked, 2));
    gone.answers(200);
    notified.sql("select avouch.set_endpoint('gone', 'enabled')").await;
    notified.until_count("gone", "delivered", 2).await;
    assert!(gone.ids().ends_with(&[first, second]) || gone.ids().ends_with(&[second, first]));
}

#[tokio::test]
async fn what_waits_for_a_removed_endpoint_is_given_up() {
    let receiver = Receiver::new(500).await;
    let notified = Notified::new(&receiver.section("merchant", "")).await;
    let message = notified.insert("1", "{}").await;
    notified.tried("merchant", message, 1).await;
    notified.sql("select avouch.remove_endpoint('merchant')").await;
    notified.until_count("merchant", "given_up", 1).await;
    notified.insert("1", "{}").await;
    until("nothing is recorded for it", LIMIT, async || (notified.ground.count("consumed").await == 2).then_some(()))
        .await;
    assert_eq!(notified.count("merchant", "waiting").await, 0);
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_what_waited_too_long_is_given_up() {
    let receiver = Receiver::new(200).await;
    let notified = Notified::new(&receiver.section("merchant", "")).await;
    notified.insert_many(3, 3).await;
    notified.until_count("merchant", "delivered", 3).await;
    receiver.answers(500);
    let message = notified.insert("1", "{}").await;
    notified.tried("merchant", message, 1).await;
    // A month passes.
    notified.sql("update avouch.delivery set ended_at = ended_at - interval '31 days' where state = 'delivered'").await;
    until("only what waits is left", LIMIT, async || {
        let sql = "select (select count(*) from avouch.delivery) = 1 and (select count(*) from avouch.notice) = 1 \
                   and (select count(*) from avouch.attempt) = 1";
        notified.ground.client.query_one(sql, &[]).await.expect("is valid").get::<_, bool>(0).then_some(())
    })
    .await;
    let old = "018c0000-0000-7000-8000-000000000000";
    notified
        .sql(&format!("update avouch.notice set message_id = '{old}'; update avouch.delivery set message_id = '{old}'"))
        .await;
    notified.until_count("merchant", "given_up", 1).await;
}
