//! What is listed and shown: as a table for people, as a document for programs, and never as a command to a terminal.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desk, HOSTILE};

/// A command, the list in its document with its length, and what its text says.
const LISTINGS: &[(&[&str], &str, usize, &[&str])] = &[
    (&["messages", "list"], "messages", 8, &["orders.delayed", "orders.prepared"]),
    (&["messages", "list", "--topic", "orders.ready"], "messages", 1, &["ready"]),
    (&["messages", "list", "--topic", "orders.>", "--key", HOSTILE], "messages", 6, &["consumed", "discarded"]),
    (&["messages", "list", "--state", "prepared"], "messages", 1, &["orders.prepared"]),
    (&["messages", "list", "--consumer", "billing"], "messages", 2, &["orders.waiting"]),
    (&["messages", "list", "--failure", "no order ? \u{1b}[?J\u{202e}\u{9b}?m<b>"], "messages", 1, &["orders.dead"]),
    (&["messages", "list", "--since", "1h", "--state", "consumed"], "messages", 1, &["orders.consumed"]),
    (&["messages", "list", "--until", "2020-01-01T00:00:00Z"], "messages", 0, &["no message is like that"]),
    (&["dead"], "messages", 2, &["orders.dead", "billing", "no order 17", "orders.never", "too big"]),
    (&["dead", "list", "--consumer", "-"], "messages", 1, &["orders.never"]),
    (&["dead", "groups"], "groups", 2, &["MESSAGES", "no order ?", "too big"]),
    (&["dead", "--groups", "--consumer", "billing"], "groups", 1, &["no order ?"]),
    (&["tx", "list"], "transactions", 2, &["in_doubt", "prepared", "check"]),
    (&["tx", "list", "--state", "in_doubt", "--checker", "check"], "transactions", 1, &["in_doubt"]),
    (&["tx", "list", "--state", "committed"], "transactions", 0, &["no transaction is like that"]),
    (&["consumers", "list"], "consumers", 1, &["billing", "by inbox", "orders.>"]),
    (&["consumer", "list"], "consumers", 1, &["billing"]),
    (&["endpoint", "list"], "endpoints", 1, &["m17", "enabled", "payments.>", "GIVEN UP"]),
    (&["endpoint", "deliveries", "m17"], "deliveries", 1, &["given_up", "payments.settled", "503"]),
    (&["endpoint", "deliveries", "m17", "--state", "waiting"], "deliveries", 0, &["nothing is there"]),
    (&["endpoint", "attempts", "018c0000-0000-7000-8000-000000000017"], "attempts", 1, &["m17", "503", "15 ms"]),
    (&["inbox", "list", "billing"], "records", 1, &["parked"]),
    (&["inbox", "list", "nobody"], "records", 0, &["no record"]),
    (&["session", "list"], "sessions", 1, &["oidc", "view", "WHO"]),
    (&["holds"], "holds", 2, &["topic", "key", "PARKED BEHIND"]),
    (&["instances"], "instances", 1, &["the-one", "alive", "8 of 8 shards are without an owner"]),
    (&["samples"], "samples", 1, &["5.5 s"]),
    (&["audit"], "audit", 2, &["discard", "pause"]),
    (&["audit", "--limit", "1"], "audit", 1, &["pause"]),
    (&["plugin", "list"], "deployments", 2, &["*  check", "bbbbbbbbbbbb", "sql:orders"]),
    (&["plugin", "show", "check"], "deployments", 2, &["grace_s=30", "sha256       bbbb", "aaaaaaaaaaaa"]),
    (&["plugin", "logs", "check"], "lines", 1, &["info", "bbbbbbbbbbbb"]),
];

#[tokio::test]
async fn every_listing_is_a_table_for_people_and_a_document_for_programs() {
    let desk = Desk::new().await;
    for (args, list, length, said) in LISTINGS {
        let document = desk.json(args).await;
        assert_eq!(document[list].as_array().map(Vec::len), Some(*length), "{args:?}: {document:#}");
        let mut told = desk.at(args).await.succeeds();
        for text in *said {
            told = told.says(text);
        }
    }
    // What the table cuts, the document does not.
    let one = desk.json(&["messages", "list", "--topic", "orders.never"]).await;
    let message = &one["messages"][0];
    assert_eq!((&message["id"], &message["key"]), (&json!(desk.dead), &json!(HOSTILE)), "{message:#}");
    assert_eq!(message["reason"], json!(format!("too big {HOSTILE}")));
}

#[tokio::test]
async fn what_a_listing_leaves_out_is_said() {
    let desk = Desk::new().await;
    for (args, list) in
        [(&["tx", "list"][..], "transactions"), (&["holds"], "holds"), (&["plugin", "list"], "deployments")]
    {
        let cut = [args, &["--limit", "1"]].concat();
        let (some, all) = (desk.json(&cut).await, desk.json(args).await);
        assert_eq!((some[list].as_array().map(Vec::len), &some["has_more"]), (Some(1), &json!(true)), "{some:#}");
        assert_eq!((all[list].as_array().map(Vec::len), &all["has_more"]), (Some(2), &json!(false)), "{all:#}");
        desk.at(&cut).await.succeeds().says("there are more: --limit");
        assert!(!desk.at(args).await.succeeds().text.contains("there are more"));
    }
}

#[tokio::test]
async fn one_thing_is_shown_with_all_that_is_known_of_it() {
    let desk = Desk::new().await;
    let (dead, waiting, tx) = (desk.dead_for_billing.to_string(), desk.waiting.to_string(), desk.tx.to_string());
    let shown = desk.json(&["messages", "show", &dead]).await;
    assert_eq!(shown["message"]["waits_for"][0]["state"], "dead", "{shown:#}");
    assert!(shown["timeline"].as_array().is_some_and(|events| events.len() >= 3) && shown.get("payload").is_none());
    let told = desk.at(&["messages", "show", &dead]).await.succeeds();
    told.says("state        dead").says("Waits for").says("billing").says("What happened").says("no order 17");
    let payload = desk.json(&["messages", "show", &dead, "--payload", "--bytes-max", "9"]).await["payload"].clone();
    assert_eq!((&payload["text"], &payload["is_cut"]), (&json!("a payload"), &json!(true)));
    desk.at(&["messages", "show", &dead, "--payload"]).await.succeeds().says("a payload");
    let bytes = desk.client.query_one("select id from avouch.outbox where payload_bytes is not null", &[]).await;
    let bytes: Uuid = bytes.expect("it is there").get(0);
    desk.at(&["messages", "show", &bytes.to_string(), "--payload"]).await.succeeds().says("AP8=");
    let unknown = Uuid::now_v7().to_string();
    desk.at(&["messages", "show", &unknown]).await.fails_with(1).says(&unknown).says("--source");
    let shown = desk.json(&["tx", "show", &tx]).await;
    assert_eq!((&shown["transaction"]["state"], &shown["transaction"]["checks"]), (&json!("in_doubt"), &json!(3)));
    desk.at(&["tx", "show", &tx]).await.succeeds().says("3 times, 2 unknown").says("tx in_doubt");
    desk.at(&["tx", "show", &unknown]).await.fails_with(1).says("not known here");
    let shown = desk.json(&["consumers", "show", "billing"]).await;
    assert_eq!((&shown["consumer"]["unfinished"], &shown["records"][0]["state"]), (&json!(2), &json!("parked")));
    desk.at(&["consumers", "show", "billing"]).await.succeeds().says("unfinished   2").says("parked");
    desk.at(&["consumers", "show", "nobody"]).await.fails_with(1).says("avouch consumers list");
    assert_eq!(desk.json(&["inbox", "show", "billing", &waiting]).await["state"], "parked");
    desk.at(&["inbox", "show", "billing", &waiting]).await.succeeds().says("state        parked");
    desk.at(&["inbox", "show", "billing", "x"]).await.fails_with(1).says("no record of \"x\"");
    let shown = desk.json(&["endpoint", "show", "m17"]).await;
    assert_eq!((&shown["given_up"], &shown["settings"]["timeout_ms"]), (&json!(1), &json!(15_000)));
    desk.at(&["endpoint", "show", "m17"]).await.succeeds().says("given up     1").says("60, 300");
    desk.at(&["endpoint", "show", "nobody"]).await.fails_with(1).says("avouch endpoint list");
    desk.at(&["plugin", "show", "nobody"]).await.fails_with(1).says("avouch plugin list");
}

/// Control characters, and what turns or hides text.
fn harmful(text: &str) -> Vec<char> {
    let turns = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| c.is_control() && *c != '\n' || turns(*c)).collect()
}

#[tokio::test]
async fn hostile_text_from_the_database_does_not_reach_the_terminal() {
    let desk = Desk::new().await;
    let (dead, waiting, tx) = (desk.dead_for_billing.to_string(), desk.waiting.to_string(), desk.tx.to_string());
    let shown: &[&[&str]] = &[
        &["messages", "show", &dead, "--payload"],
        &["messages", "resend", "--topic", "orders.never", "--dry-run"],
        &["tx", "show", &tx],
        &["tx", "commit", "--checker", "check", "--dry-run"],
        &["consumers", "show", "billing"],
        &["inbox", "show", "billing", &waiting],
        &["status"],
        &["endpoint", "show", "m17"],
        &["endpoint", "show", HOSTILE],
        &["endpoint", "resend", "m17", "--since", "1d", "--dry-run"],
        &["endpoint", "disable", "m17", "--reason", HOSTILE],
        &["pause", "key", HOSTILE, "--reason", HOSTILE],
        &["resume", "key", HOSTILE],
        &["resume", "key", HOSTILE],
        &["consumers", "show", HOSTILE],
        &["plugin", "show", HOSTILE],
        &["inbox", "done", "billing", HOSTILE],
    ];
    for args in LISTINGS.iter().map(|(args, ..)| *args).chain(shown.iter().copied()) {
        for form in [&[][..], &["--json"]] {
            let told = desk.at(&[args, form].concat()).await;
            assert!(harmful(&told.text).is_empty(), "{args:?}: {:?} in {:?}", harmful(&told.text), told.text);
        }
    }
}

#[tokio::test]
async fn times_in_documents_are_in_utc_whatever_the_database_thinks() {
    let desk = Desk::new().await;
    let set = format!("alter database {} set timezone = 'Asia/Kolkata'", desk.database.name());
    desk.client.batch_execute(&set).await.expect("is allowed");
    let there: Value = desk.json(&["messages", "list", "--topic", "orders.consumed"]).await;
    let message = &there["messages"][0];
    for time in [&message["created_at"], &message["sent_at"], &message["received"][0]["at"]] {
        assert!(time.as_str().is_some_and(|text| text.ends_with('Z')), "{message:#}");
    }
    assert!(desk.json(&["audit"]).await["audit"][0]["at"].as_str().is_some_and(|text| text.ends_with('Z')));
}

#[tokio::test]
async fn long_listings_go_on_where_they_ended_and_all_of_it_is_one_document() {
    let desk = Desk::new().await;
    desk.dead(1234, "no answer").await;
    let all = desk.json(&["messages", "list", "--topic", "bulk", "--all"]).await;
    assert_eq!((all["messages"].as_array().map(Vec::len), &all["cursor"]), (Some(1234), &Value::Null));
    let lines = desk.at(&["dead", "--topic", "bulk", "--all"]).await.succeeds().text.lines().count();
    assert_eq!(lines, 1235, "one heading, and a line each");
    let first = desk.json(&["messages", "list", "--topic", "bulk", "--limit", "1000"]).await;
    let cursor = first["cursor"].as_str().expect("there are more");
    let rest = desk.json(&["messages", "list", "--topic", "bulk", "--limit", "1000", "--cursor", cursor]).await;
    let ids =
        |part: &Value| part["messages"].as_array().expect("a list").iter().map(|m| m["id"].clone()).collect::<Vec<_>>();
    assert_eq!([ids(&first), ids(&rest)].concat(), ids(&all));
    desk.at(&["messages", "list", "--limit", "2"]).await.succeeds().says("--cursor");
    let wrong = ["messages", "list", "--state", "dead", "--cursor", "x"];
    desk.at(&wrong).await.fails_with(2).says("belongs to another search");
    desk.at(&["messages", "list", "--state", "lost"]).await.fails_with(2).says("consumed");
}
