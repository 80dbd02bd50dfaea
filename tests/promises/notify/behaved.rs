//! What a receiver gets, and what the books say of it.

use std::process::Stdio;

use avouch_tests::wait::until;
use avouch_tests::web::Asked;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{LIMIT, Notified, Receiver, SECRET, id};

/// What the reference library of Standard Webhooks says of each.
pub async fn verified(asked: &[(&str, &Asked)]) -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".avouch/venv/bin/python");
    assert!(python.exists(), "no {}: run `.ci/setup test`", python.display());
    let mut command = Command::new(python);
    command.arg(root.join("tests/foreign/webhook_verifier.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().expect("it can be started");
    let mut lines = String::new();
    for (secret, one) in asked {
        let headers: serde_json::Map<String, Value> =
            one.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let line = json!({ "secret": secret, "headers": headers, "body": String::from_utf8_lossy(&one.body) });
        lines.push_str(&format!("{line}\n"));
    }
    child.stdin.take().expect("it is piped").write_all(lines.as_bytes()).await.expect("it reads");
    let output = child.wait_with_output().await.expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn receiver_is_told_what_was_committed_signed_and_once() {
    let receiver = Receiver::new(204).await;
    let more = "headers = { authorization = \"Bearer x\" }\n";
    let notified = Notified::new(&receiver.section("merchant", more)).await;
    let message = notified.insert("ключ 42", "{\"amount\": 42}").await;
    notified.until_count("merchant", "delivered", 1).await;
    let asked = receiver.web.asked();
    assert_eq!(asked.len(), 1);
    let one = &asked[0];
    assert_eq!((one.line.as_str(), id(one)), ("POST /hook HTTP/1.1", message));
    assert_eq!(one.body, b"{\"amount\": 42}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("authorization", "Bearer x"),
        ("avouch-topic", "payments.settled"),
        ("avouch-key", "%D0%BA%D0%BB%D1%8E%D1%87%2042"),
        ("avouch-attempt", "1"),
    ] {
        assert_eq!(one.header(name), Some(value), "{name}");
    }
    assert_eq!(one.header("merchant"), None, "the producer's headers are the house's");
    // What it is for: the message is done with, and the outbox may forget it.
    until("the message is consumed", LIMIT, async || {
        let sql = "select state from avouch.outbox where id = $1 and state = 'consumed'";
        notified.ground.client.query_opt(sql, &[&message]).await.expect("is valid").map(drop)
    })
    .await;
}

#[tokio::test]
async fn signatures_verify_with_the_reference_library_and_with_no_other_secret() {
    let receiver = Receiver::new(200).await;
    let newer = "whsec_bmV3ZXItc2VjcmV0LW9mLTMyLWJ5dGVzLWxvbmchIQ==";
    let both = format!("secrets = [\"{newer}\", \"{SECRET}\"]");
    let section = receiver.section("merchant", "").replace(&format!("secrets = [\"{SECRET}\"]"), &both);
    let notified = Notified::new(&section).await;
    notified.insert("1", "{\"text\": \"Überweisung — 転送\"}").await;
    notified.until_count("merchant", "delivered", 1).await;
    let asked = receiver.web.asked();
    let mut altered = asked[0].clone();
    altered.body.push(b' ');
    let mut older = asked[0].clone();
    for (name, value) in &mut older.headers {
        if name == "webhook-timestamp" {
            *value = "1614265330".to_owned();
        }
    }
    let other = "whsec_b3RoZXItc2VjcmV0LW9mLTMyLWJ5dGVzLWxvbmchIQ==";
    let words =
        verified(&[(newer, &asked[0]), (SECRET, &asked[0]), (other, &asked[0]), (SECRET, &altered), (SECRET, &older)])
            .await;
    assert_eq!(words[..2], ["verified", "verified"], "each of two secrets, while one replaces the other");
    assert!(words[2..].iter().all(|word| word.starts_with("refused")), "{words:?}");
}

#[tokio::test]
async fn endpoint_is_told_what_its_topics_and_its_filter_say() {
    let (all, own, other) = (Receiver::new(200).await, Receiver::new(200).await, Receiver::new(200).await);
    let notified = Notified::new(&format!(
        "{}{}{}",
        all.section("all", ""),
        own.section("own", "filter = { merchant = \"m17\" }\n"),
        other.section("other", "").replace("payments.>", "payments.refunded"),
    ))
    .await;
    let of_merchant = notified.insert("1", "{}").await;
    let of_nobody = notified.insert_many(1, 1).await.pop_first().expect("one");
    notified
        .sql("insert into avouch.outbox (topic, payload) values ('payments.refunded', '{}'), ('orders.created', '{}')")
        .await;
    notified.until_count("all", "delivered", 3).await;
    notified.until_count("own", "delivered", 1).await;
    notified.until_count("other", "delivered", 1).await;
    assert_eq!(own.ids(), [of_merchant]);
    assert!(all.ids().contains(&of_nobody) && !other.ids().contains(&of_nobody));
}

#[tokio::test]
async fn redirect_is_not_followed_and_said_to_be_one() {
    let target = Receiver::new(200).await;
    let to = format!("location: {}/latest/meta-data/\r\n", target.web.origin()).leak();
    let receiver = Receiver::with_headers(307, to).await;
    let notified = Notified::new(&receiver.section("merchant", "")).await;
    let message = notified.insert("1", "{}").await;
    notified.tried("merchant", message, 1).await;
    let sql = "select reason, excerpt, status from avouch.attempt where message_id = $1";
    let row = notified.ground.client.query_one(sql, &[&message]).await.expect("one try");
    assert!(row.get::<_, &str>(0).contains("redirects are not followed"));
    assert_eq!((row.get::<_, &str>(1), row.get::<_, i32>(2)), ("said <b>so</b>", 307));
    assert_eq!(target.web.asked().len(), 0);
}

#[tokio::test]
async fn endpoint_that_nobody_may_tell_is_refused_before_it_starts_or_named() {
    let receiver = Receiver::new(200).await;
    let private = super::settings(&receiver.section("merchant", "")).replace("allow = [\"127.0.0.0/8\"]\n", "");
    let file = crate::schema::File::new("avouch.toml", &format!("[source.main]\nurl = \"x\"\n{private}"));
    let told = crate::cli::avouch(&["--config", file.path(), "config", "check"], &[]).await;
    told.says("endpoint.merchant: url: 127.0.0.1 is in a private network");
    // A name is looked at each time, wherever it leads today.
    let named = receiver.section("merchant", "").replace("127.0.0.1", "localhost");
    let ground = crate::ground::Ground::new().await;
    let settings = super::settings(&named).replace("127.0.0.0/8", "10.0.0.0/8");
    let avouch = ground.runtime(&settings).await;
    let notified = Notified { ground, settings, avouch };
    let message = notified.insert("1", "{}").await;
    notified.tried("merchant", message, 1).await;
    let sql = "select reason from avouch.attempt where message_id = $1";
    let reason: String = notified.ground.client.query_one(sql, &[&message]).await.expect("one try").get(0);
    assert!(reason.contains("private network") && receiver.web.asked().is_empty(), "{reason}");
}

#[tokio::test]
async fn receiver_whose_certificate_is_not_trusted_is_told_nothing() {
    let receiver = Receiver::new(200).await;
    // It does not even speak TLS.
    let notified = Notified::new(&receiver.section("merchant", "").replace("http://", "https://")).await;
    let message = notified.insert("1", "{}").await;
    notified.tried("merchant", message, 1).await;
    let sql = "select reason from avouch.attempt where message_id = $1";
    let reason: String = notified.ground.client.query_one(sql, &[&message]).await.expect("one try").get(0);
    assert!(reason.contains("cannot be reached") && receiver.web.asked().is_empty(), "{reason}");
}
