//! Transactions are found however many others there are.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Served, json_of, send};

#[tokio::test]
async fn old_doubts_and_rare_transactions_are_found_behind_twenty_thousand_others() {
    let served = Served::new().await;
    // Ids of one millisecond stand in no order.
    served
        .sql(
            "insert into avouch.tx (id, checker, state, check_at) values (avouch.uuid_v7(), 'rare', 'in_doubt', now()); select pg_sleep(0.005); \
             insert into avouch.tx (id, checker, state, check_at) values (avouch.uuid_v7(), 'rare', 'committed', now()); select pg_sleep(0.005); \
             insert into avouch.tx (id, checker, state, check_at) select avouch.uuid_v7(), 'busy', 'committed', now() from generate_series(1, 20500)",
        )
        .await;
    let token = served.token("looker", "view").await;
    let page = async |query: &str| {
        json_of(send(served.ask(Method::GET, &format!("/v1/transactions?{query}")).bearer_auth(&token)).await).await
    };
    let undecided = page("").await;
    assert_eq!(undecided["transactions"].as_array().map(Vec::len), Some(1), "{undecided}");
    assert_eq!((&undecided["transactions"][0]["checker"], &undecided["cursor"]), (&json!("rare"), &Value::Null));
    // With others, in the order of their ids, and none is left out.
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..5 {
        let part = page(&format!("checker=rare&state=in_doubt,committed{cursor}")).await;
        found.extend(part["transactions"].as_array().expect("a list").iter().map(|t| t["state"].clone()));
        match part["cursor"].as_str() {
            Some(at) => cursor = format!("&cursor={at}"),
            None => break,
        }
    }
    assert_eq!(found, ["committed", "in_doubt"]);
    // More undecided ones than one look holds: the newest stand first all the same, and the doubt is found behind them.
    served
        .sql(
            "insert into avouch.tx (id, checker, state, check_at) select avouch.uuid_v7(), 'busy', 'prepared', now() + interval '1 h' from generate_series(1, 20500); select pg_sleep(0.005); \
             insert into avouch.tx (id, checker, state, check_at) values (avouch.uuid_v7(), 'zeal', 'prepared', now() + interval '1 h')",
        )
        .await;
    let newest = page("limit=1").await;
    assert_eq!(newest["transactions"][0]["checker"], "zeal");
    let (mut cursor, mut is_found) = (String::new(), false);
    for _ in 0..100 {
        let part = page(&format!("limit=500{cursor}")).await;
        is_found |= part["transactions"].as_array().expect("a list").iter().any(|t| t["state"] == "in_doubt");
        match part["cursor"].as_str() {
            Some(at) => cursor = format!("&cursor={at}"),
            None => break,
        }
    }
    assert!(is_found, "it is on one of the pages");
}
