//! Pages: nothing twice, nothing left out, one's own among many others'.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use super::super::Receiver;
use super::{Answering, uuid_of};

/// Asks page after page.
async fn all_pages(answering: &Answering, path: &str, token: &str) -> Vec<Uuid> {
    pages_behind(answering, path, String::new(), token).await
}

/// Those behind one: `after` is that of the first question.
async fn pages_behind(answering: &Answering, path: &str, mut after: String, token: &str) -> Vec<Uuid> {
    let mut all = Vec::new();
    loop {
        let page = answering.json(&format!("{path}{after}"), token).await;
        let messages = page["messages"].as_array().expect("it is a page");
        all.extend(messages.iter().map(|message| uuid_of(&message["id"])));
        match &page["next"] {
            Value::Null => return all,
            next => after = format!("&after={}", uuid_of(next)),
        }
    }
}

#[tokio::test]
async fn pages_of_a_stretch_of_time_hold_each_message_once_in_order() {
    let receiver = Receiver::new(200).await;
    let answering = Answering::new(&receiver.section("merchant", "")).await;
    let token = answering.token("merchant").await;
    let first = answering.notified.insert_many(20, 3).await;
    answering.notified.until_count("merchant", "delivered", 20).await;
    let since = "/v1/notify/messages?since=2026-01-01T00:00:00Z&limit=7";
    let all = all_pages(&answering, since, &token).await;
    assert!(all.is_sorted() && all == first.iter().copied().collect::<Vec<_>>(), "{all:?}");
    // A bound in the middle: what lies before it and behind it are all of them, and it separates them by their time.
    let middle = all[10];
    let at = time_of(&answering, middle).await;
    let before = all_pages(&answering, &format!("{since}&until={at}"), &token).await;
    let behind = all_pages(&answering, &since.replace("2026-01-01T00:00:00Z", &at), &token).await;
    assert_eq!(before.len() + behind.len(), 20);
    assert!(behind.contains(&middle) && !before.contains(&middle) && before.iter().all(|id| *id < middle));
    // What comes while it pages is on a later page or not, but disturbs nothing.
    let page = answering.json(since, &token).await;
    answering.notified.insert_many(5, 3).await;
    answering.notified.until_count("merchant", "delivered", 25).await;
    let rest = pages_behind(&answering, since, format!("&after={}", uuid_of(&page["next"])), &token).await;
    assert_eq!(rest.iter().copied().collect::<BTreeSet<_>>().len(), 18);
}

/// The time in an id, as a question writes it.
async fn time_of(answering: &Answering, id: Uuid) -> String {
    let ms = (id.as_u128() >> 80).to_string();
    let sql = "select to_char(to_timestamp($1::text::numeric / 1000) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
    answering.notified.ground.client.query_one(sql, &[&ms]).await.expect("is valid").get(0)
}

#[tokio::test]
async fn ones_own_newest_are_first_among_many_others_of_the_same_number() {
    let (own, other) = (Receiver::new(200).await, Receiver::new(200).await);
    let filter = "filter = { merchant = \"m17\" }\n";
    let answering = Answering::new(&format!("{}{}", own.section("own", filter), other.section("other", ""))).await;
    // 3000 of them are the other one's alone.
    let mut mine = Vec::new();
    for _ in 0..3 {
        mine.push(answering.notified.insert("0", "{}").await);
        answering.notified.insert_many(1_000, 1).await;
    }
    answering.notified.until_count("own", "delivered", 3).await;
    answering.notified.until_count("other", "delivered", 3_003).await;
    mine.reverse();
    let path = "/v1/notify/messages?topic=payments.settled&key=0";
    let (own, other) = (answering.token("own").await, answering.token("other").await);
    assert_eq!(answering.ids(path, &own).await, mine);
    assert_eq!(all_pages(&answering, &format!("{path}&limit=2"), &own).await, mine);
    let all = all_pages(&answering, &format!("{path}&limit=500"), &other).await;
    assert_eq!((all.len(), all.is_sorted_by(|a, b| a > b)), (3_003, true));
}
