//! What people do about endpoints, over the API and by commands: make, change, ping, look, tell again; and what is never shown.

use avouch_runtime::signature::{Key, sign};
use avouch_tests::wait::{secs, until};
use avouch_tests::web::Asked;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{LIMIT, Notified, Receiver, id};
use crate::admin::{address_of, client, send};
use crate::cli::{Told, avouch};
use crate::schema::File;

/// One try: what fails is given up.
const ONCE: &str = "schedule_s = []\n";
/// Clears a terminal, turns text around.
const HOSTILE: &str = "\u{1b}[2J\u{202e}<b>";

/// A runtime that tells `merchant`, served, and the commands of somebody who operates it.
pub struct Operated {
    pub notified: Notified,
    receiver: Receiver,
    origin: String,
    token: String,
    file: File,
}

impl Operated {
    pub async fn new(status: u16, more: &str) -> Operated {
        let receiver = Receiver::new(status).await;
        let section = receiver.section("merchant", more);
        let notified = Notified::new(&format!("{section}[admin]\nlisten = \"127.0.0.1:0\"\n")).await;
        let file = File::new("avouch.toml", &notified.ground.config(&notified.settings));
        let origin = format!("http://{}", address_of(&notified.avouch).await);
        let args = ["token", "create", "ops", "--role", "admin", "--json", "--config", file.path()];
        let made: Value = serde_json::from_str(&avouch(&args, &[]).await.succeeds().text).expect("it is a document");
        let token = made["secret"].as_str().expect("it is told once").to_owned();
        Operated { notified, receiver, origin, token, file }
    }

    /// `avouch endpoint …`.
    pub async fn at(&self, args: &[&str]) -> Told {
        avouch(&[&["endpoint"][..], args, &["--config", self.file.path()]].concat(), &[]).await
    }

    async fn json(&self, args: &[&str]) -> Value {
        let told = self.at(&[args, &["--json"]].concat()).await.succeeds();
        serde_json::from_str(&told.text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{}", told.text))
    }

    /// What the API answers.
    pub async fn api(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = client().request(method, format!("{}{path}", self.origin)).bearer_auth(&self.token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = send(request).await;
        let (status, bytes) = (response.status().as_u16(), response.bytes().await.expect("it has a body"));
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn number(&self, sql: &str) -> i64 {
        self.notified.ground.client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
    }

    /// So many messages that were given up for this endpoint an hour ago, without their having been tried.
    pub async fn give_up(&self, endpoint: &str, count: i32) {
        let sql = format!(
            "with n as (insert into avouch.notice (message_id, topic, key, payload, created_at)
               select avouch.uuid_v7(), 'payments.settled', n::text, '{{}}', now() from generate_series(1, {count}) n returning message_id)
             insert into avouch.delivery (endpoint, message_id, state, attempts, status, reason, told, ended_at)
             select e.id, n.message_id, 'given_up', 9, 500, 'it answers 500', true, now() - interval '1 hour'
             from n, avouch.endpoint e where e.name = '{endpoint}'"
        );
        self.notified.sql(&sql).await;
    }

    /// Makes messages until this endpoint has been told one, or one waits for it: who is told, and how, is read anew each second.
    async fn until_some(&self, endpoint: &str, state: &str) {
        until(&format!("{endpoint} is known as it is now"), LIMIT, async || {
            self.notified.insert("probe", "{}").await;
            (self.notified.count(endpoint, state).await > 0).then_some(())
        })
        .await;
    }
}

/// What a command has printed once.
fn printed(told: &Told, beginning: &str) -> String {
    let found = told.text.split_whitespace().find(|word| word.starts_with(beginning));
    found.unwrap_or_else(|| panic!("no {beginning}… in {}", told.text)).to_owned()
}

/// Whether this secret has signed it.
fn is_signed(asked: &Asked, secret: &str) -> bool {
    let at_s = asked.header("webhook-timestamp").and_then(|at| at.parse().ok()).expect("each request has one");
    let signature = sign(&[Key::parse(secret).expect("it is one")], &id(asked).to_string(), at_s, &asked.body);
    asked.header("webhook-signature").is_some_and(|all| all.split(' ').any(|one| one == signature))
}

#[tokio::test]
async fn endpoint_is_made_by_a_command_told_and_signed_with_what_was_printed_once() {
    let desk = Operated::new(200, "").await;
    let receiver = Receiver::new(200).await;
    let url = format!("{}/own", receiver.web.origin());
    let wanted = ["--url", &url, "--topic", "payments.settled", "--filter", "Merchant=m17", "--schedule", "1,2"];
    let more = ["--tenant", "shop", "--header", "authorization=Bearer hunter2", "--ordered", "--reason", "contract 7"];
    let made = desk.at(&[&["create", "own"][..], &wanted, &more].concat()).await.succeeds();
    let secret = printed(&made, "whsec_");
    desk.until_some("own", "delivered").await;
    let without = desk.notified.insert_many(1, 1).await;
    let message = desk.notified.insert("k", "{}").await;
    until("it is told", LIMIT, async || receiver.ids().contains(&message).then_some(())).await;
    assert!(receiver.ids().iter().all(|id| !without.contains(id)), "only what has its header");
    for asked in receiver.web.asked() {
        assert!(is_signed(&asked, &secret) && !is_signed(&asked, super::SECRET));
        assert_eq!(asked.header("authorization"), Some("Bearer hunter2"));
    }

    let shown = desk.json(&["show", "own"]).await;
    assert_eq!(
        (&shown["settings"]["schedule_s"], &shown["ordered"], &shown["origin"]),
        (&json!([1, 2]), &json!(true), &json!("api"))
    );
    assert_eq!(shown["filter"], json!({ "merchant": "m17" }));
    for args in [&["list"][..], &["show", "own"], &["list", "--json"], &["show", "own", "--json"]] {
        let told = desk.at(args).await.succeeds().says("own");
        assert!(!told.text.contains("hunter2") && !told.text.contains("whsec"), "{args:?}: {}", told.text);
    }
    let audited = "select count(*) from avouch.audit where action = 'create endpoint' and subject = 'own' and actor like 'cli:%' and why = 'contract 7'";
    assert_eq!(desk.number(audited).await, 1);

    desk.at(&["change", "own", "--no-filter", "--schedule", "none", "--ordered=false"])
        .await
        .succeeds()
        .says("one try");
    let changed = desk.json(&["show", "own"]).await;
    assert_eq!(
        (&changed["filter"], &changed["tenant"], &changed["ordered"]),
        (&json!({}), &json!("shop"), &json!(false))
    );
    let told = until("it is told what has no header", LIMIT, async || {
        desk.notified.insert_many(1, 1).await;
        receiver.web.asked().into_iter().find(|asked| asked.body == b"0")
    })
    .await;
    assert_eq!(told.header("authorization"), Some("Bearer hunter2"), "what was not said stays");
}

#[tokio::test]
async fn both_secrets_sign_while_one_replaces_the_other() {
    let desk = Operated::new(200, "").await;
    let receiver = Receiver::new(200).await;
    let url = format!("{}/own", receiver.web.origin());
    let secret = File::new("secret", &format!("{}\n", super::SECRET));
    let from = format!("file:{}", secret.path());
    let made = desk.at(&["create", "own", "--url", &url, "--topic", "payments.>", "--secret", &from]).await.succeeds();
    assert!(!made.text.contains("whsec_"), "who gave it knows it: {}", made.text);
    let newer = printed(&desk.at(&["rotate-secret", "own"]).await.succeeds(), "whsec_");
    until("both sign", LIMIT, async || {
        desk.at(&["ping", "own"]).await.succeeds();
        let last = receiver.web.asked().pop()?;
        (is_signed(&last, super::SECRET) && is_signed(&last, &newer)).then_some(())
    })
    .await;
    let newest = desk.json(&["rotate-secret", "own", "--ed25519", "--overlap-hours", "0"]).await;
    assert!(newest["verifies"].as_str().is_some_and(|key| key.starts_with("whpk_")), "{newest}");
    until("only what is left signs", LIMIT, async || {
        desk.at(&["ping", "own"]).await.succeeds();
        let last = receiver.web.asked().pop()?;
        (!is_signed(&last, &newer) && last.header("webhook-signature")?.contains("v1a,")).then_some(())
    })
    .await;
    let argument = desk.at(&["rotate-secret", "own", "--secret", super::SECRET]).await.fails_with(2);
    argument.says("file:/path or env:NAME");
}

#[tokio::test]
async fn ping_shows_what_the_receiver_answers_and_fails_if_it_was_not_delivered() {
    let desk = Operated::new(200, "").await;
    let told = desk.at(&["ping", "merchant"]).await.succeeds();
    told.says("delivered").says("200").says("said <b>so</b>");
    assert_eq!(desk.receiver.web.asked()[0].header("avouch-topic"), Some("avouch.ping"));
    desk.receiver.answers(503);
    let told = desk.at(&["ping", "merchant", "--json"]).await.fails_with(1);
    let document: Value = serde_json::from_str(&told.text).expect("a document all the same");
    assert_eq!((&document["delivered"], &document["attempt"]["status"]), (&json!(false), &json!(503)));
    assert_eq!(desk.receiver.web.asked().len(), 2, "it is tried once");
    let shown = desk.json(&["show", "merchant"]).await;
    assert_eq!((&shown["given_up"], &shown["failing_since"]), (&json!(0), &Value::Null), "nobody misses it");
    let again = desk.json(&["resend", "merchant", "--since", "1h", "--dry-run"]).await;
    assert_eq!(again["count"], 0, "it is not sent again with what was given up");
    desk.at(&["disable", "merchant", "--reason", "they move"]).await.succeeds();
    desk.at(&["ping", "merchant"]).await.fails_with(1).says("avouch endpoint enable merchant");
    desk.at(&["ping", "nobody"]).await.fails_with(1).says("there is no endpoint nobody");
}

#[tokio::test]
async fn disabled_endpoint_waits_and_a_removed_one_keeps_its_name() {
    let desk = Operated::new(200, "").await;
    let receiver = Receiver::new(200).await;
    let url = format!("{}/own", receiver.web.origin());
    let create = ["create", "own", "--url", &url, "--topic", "payments.>"];
    desk.at(&create).await.succeeds();
    desk.until_some("own", "delivered").await;
    desk.at(&["disable", "own", "--reason", HOSTILE]).await.succeeds();
    desk.at(&["disable", "own"]).await.fails_with(1).says("disabled already");
    // It is known within a second: what comes before that is told as it was.
    tokio::time::sleep(secs(2)).await;
    let waiting = until("what comes for it waits", LIMIT, async || {
        let message = desk.notified.insert("k", "{}").await;
        until("others are told", LIMIT, async || desk.receiver.ids().contains(&message).then_some(())).await;
        let listed = desk.json(&["deliveries", "own", "--state", "waiting"]).await["deliveries"].take();
        let mut listed: Vec<Value> = listed.as_array().expect("it is a list").clone();
        listed.retain(|one| one["key"] == "k");
        (listed.len() > 1).then_some(listed)
    })
    .await;
    assert!(waiting.iter().all(|one| one["state"] == "waiting"), "{waiting:?}");
    let status = avouch(&["status", "--config", desk.file.path()], &[]).await.succeeds();
    assert!(status.text.contains("own: disabled: \\u{1b}[2J\\u{202e}<b>"), "{}", status.text);
    let is_told = |one: &&Value| receiver.ids().iter().any(|id| one["message_id"] == json!(id));
    assert_eq!(waiting.iter().find(is_told), None, "it is told nothing");
    desk.at(&["enable", "own"]).await.succeeds();
    desk.notified.until_count("own", "waiting", 0).await;
    assert!(waiting.iter().all(|one| is_told(&one)), "it is told all of it");
    desk.at(&["remove", "own", "--reason", "contract ended"]).await.succeeds();
    desk.at(&create).await.fails_with(1).says("take another name");
    desk.at(&["show", "own"]).await.fails_with(1);
    // What stands in the configuration is changed there.
    for (args, remedy) in [
        (&["remove", "merchant"][..], "[endpoint.merchant] is in the configuration"),
        (&["change", "merchant", "--tenant", "x"][..], "change [endpoint.merchant] there"),
        (&["rotate-secret", "merchant"][..], "change [endpoint.merchant] there"),
        (&["create", "merchant", "--url", &url, "--topic", "payments.>"][..], "[endpoint.merchant]"),
    ] {
        desk.at(args).await.fails_with(1).says(remedy);
    }
    let outside = ["create", "b", "--url", "http://10.0.0.1/", "--topic", "orders.>", "--header", "host=x"];
    desk.at(&outside).await.fails_with(2).says("url:").says("outside of notify.topics").says("header host");
}

#[tokio::test]
async fn receivers_tokens_are_made_and_revoked_by_commands() {
    let desk = Operated::new(200, "").await;
    let made = desk.json(&["token", "create", "merchant", "--days", "7"]).await;
    assert!(made["secret"].as_str().is_some_and(|secret| secret.starts_with("avouch_")), "{made}");
    let valid =
        "select count(*) from avouch.endpoint_token where revoked_at is null and ends_at < now() + interval '8 days'";
    assert_eq!(desk.number(valid).await, 1);
    assert_eq!(desk.json(&["token", "revoke", "merchant"]).await["revoked"], 1);
    assert_eq!(desk.number(valid).await, 0);
    desk.at(&["token", "revoke", "merchant"]).await.fails_with(1);
    desk.at(&["token", "create", "nobody"]).await.fails_with(1).says("there is no endpoint nobody");
}

#[tokio::test]
async fn all_that_was_given_up_is_told_again_after_a_dry_run_and_a_yes() {
    const MANY: i32 = 700;
    let desk = Operated::new(200, "").await;
    desk.give_up("merchant", MANY).await;
    let since = ["resend", "merchant", "--since", "2h"];
    let plan = desk.json(&[&since[..], &["--dry-run"]].concat()).await;
    assert_eq!((&plan["count"], &plan["dry_run"]), (&json!(MANY), &json!(true)));
    assert_eq!(plan["examples"].as_array().map(Vec::len), Some(5));
    assert_eq!(desk.json(&["resend", "merchant", "--since", "30m", "--dry-run"]).await["count"], 0);
    desk.at(&since).await.fails_with(2).says("--yes");
    assert_eq!(desk.notified.count("merchant", "given_up").await, i64::from(MANY));
    let done = desk.json(&[&since[..], &["--yes", "--reason", "they are back"]].concat()).await;
    assert_eq!((&done["count"], &done["done"]), (&json!(MANY), &json!(MANY)));
    desk.notified.until_count("merchant", "delivered", MANY.into()).await;
    let mut told = desk.receiver.ids();
    told.sort_unstable();
    told.dedup();
    assert_eq!((told.len(), desk.receiver.ids().len()), (700, 700), "each of them, once");
    let audited = "select count(*) from avouch.audit where action = 'notify given up again' and why = 'they are back'";
    assert_eq!(desk.number(audited).await, 2, "in two batches");
}

#[tokio::test]
async fn message_is_told_again_by_its_id_and_its_tries_are_shown() {
    let desk = Operated::new(500, ONCE).await;
    let message = desk.notified.insert("k", "{}").await;
    desk.notified.until_count("merchant", "given_up", 1).await;
    let listed = desk.json(&["deliveries", "merchant", "--state", "given_up"]).await;
    assert_eq!(listed["deliveries"][0]["message_id"], json!(message));
    desk.at(&["attempts", &message.to_string()]).await.succeeds().says("500").says("said <b>so</b>").says("given_up");
    desk.receiver.answers(200);
    let never = Uuid::now_v7().to_string();
    let again = desk.at(&["resend", "merchant", &message.to_string(), &never]).await.fails_with(1);
    again.says(&format!("{message}: merchant is told it again")).says(&format!("{never}: it was never meant"));
    desk.notified.until_count("merchant", "delivered", 1).await;
    assert_eq!(desk.receiver.ids(), [message, message], "under the webhook-id that it had");
    let tried = desk.json(&["attempts", &message.to_string(), "--endpoint", "merchant"]).await;
    let rounds: Vec<_> = tried["attempts"].as_array().expect("a list").iter().map(|a| a["round"].clone()).collect();
    assert_eq!(rounds, [2, 1]);
    desk.at(&["resend", "merchant"]).await.fails_with(2).says("--since");
}

#[tokio::test]
async fn hostile_answers_do_not_reach_the_terminal() {
    let desk = Operated::new(500, ONCE).await;
    let message = desk.notified.insert(HOSTILE, "{}").await;
    desk.notified.until_count("merchant", "given_up", 1).await;
    let hostile = "update avouch.attempt set excerpt = E'\\u001b[2J\\u202e', reason = E'\\u001b[2J\\u202e'; \
                   update avouch.delivery set reason = E'\\u001b[2J\\u202e'; update avouch.endpoint set tenant = E'\\u202e\\u200b'";
    desk.notified.sql(hostile).await;
    let id = message.to_string();
    for args in [
        &["list"][..],
        &["show", "merchant"],
        &["attempts", &id],
        &["deliveries", "merchant"],
        &["resend", "merchant", "--since", "1h", "--dry-run"],
        &["attempts", &id, "--json"],
        &["deliveries", "merchant", "--json"],
    ] {
        let told = desk.at(args).await.succeeds();
        assert!(!told.text.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{args:?}: {:?}", told.text);
    }
}

#[tokio::test]
async fn alarms_about_endpoints_name_commands_that_do_it() {
    let desk = Operated::new(200, ONCE).await;
    let gone = Receiver::new(200).await;
    let url = format!("{}/own", gone.web.origin());
    desk.at(&["create", "own", "--url", &url, "--topic", "payments.>"]).await.succeeds();
    desk.until_some("own", "delivered").await;
    desk.receiver.answers(500);
    gone.answers(410);
    desk.notified.insert("k", "{}").await;
    for (kind, receiver) in [("given_up", &desk.receiver), ("endpoint_disabled", &gone)] {
        let line = desk.notified.avouch.wait_for_log(&format!("\"alarm\":\"{kind}\""), LIMIT).await;
        let line: Value = serde_json::from_str(&line).expect("the log is JSON lines");
        let remedy = line["fields"]["remedy"].as_str().or_else(|| line["remedy"].as_str()).expect("it says what to do");
        receiver.answers(200);
        let commands: Vec<&str> =
            remedy.split("avouch ").skip(1).filter_map(|text| text.split([',', ';', ':']).next()).collect();
        assert!(commands.len() > 1, "{remedy}");
        for command in commands {
            let words: Vec<&str> = command.split_whitespace().collect();
            assert_eq!(words[0], "endpoint", "{remedy}");
            // A person in a terminal would be asked about what waits.
            let yes = if words[1] == "remove" { &["--yes"][..] } else { &[] };
            desk.at(&[&words[1..], yes].concat()).await.succeeds();
        }
    }
    desk.notified.until_count("merchant", "given_up", 0).await;
}

#[tokio::test]
async fn api_tells_again_no_more_than_was_counted_and_confirmed() {
    let desk = Operated::new(200, "").await;
    desk.give_up("merchant", 3).await;
    let since = json!("2020-01-01T00:00:00Z");
    let resend = async |body: Value| desk.api(Method::POST, "/v1/endpoints/merchant/resend", body).await;
    let counted = resend(json!({ "given_up_since": since, "dry_run": true })).await;
    assert_eq!(counted, (200, json!({ "count": 3, "more": false })));
    let other = resend(json!({ "given_up_since": since, "confirm": 2 })).await;
    assert_eq!((other.0, desk.notified.count("merchant", "given_up").await), (409, 3));
    let uncounted = resend(json!({ "given_up_since": since })).await;
    assert_eq!((uncounted.0, desk.notified.count("merchant", "given_up").await), (409, 3));
    assert!(uncounted.1["remedy"].as_str().is_some_and(|text| text.contains("confirm = 3")), "{}", uncounted.1);
    assert_eq!(resend(json!({ "dry_run": true })).await.0, 422);
    let done = resend(json!({ "given_up_since": since, "confirm": 3, "reason": "back" })).await;
    assert_eq!(done, (200, json!({ "count": 3, "more": false })));
    desk.notified.until_count("merchant", "delivered", 3).await;
    let so_many = async |count: i64| resend(json!({ "given_up_since": since, "confirm": count })).await.1;
    assert_eq!(so_many(0).await, json!({ "count": 0, "more": false }));
    desk.give_up("merchant", 1_001).await;
    assert_eq!(so_many(1_000).await, json!({ "count": 1_000, "more": true }));
}

#[tokio::test]
async fn overview_names_endpoints_that_are_not_told_and_no_others() {
    let desk = Operated::new(200, "").await;
    let troubled = async || desk.api(Method::GET, "/v1/overview", json!({})).await.1["endpoints"].clone();
    assert_eq!(troubled().await, json!([]));
    // A short failure is no trouble, and what was given up long ago is nobody's any more.
    desk.give_up("merchant", 2).await;
    desk.notified.sql("update avouch.delivery set ended_at = now() - interval '8 days'; update avouch.endpoint set failing_since = now()").await;
    assert_eq!(troubled().await, json!([]));
    desk.notified.sql("update avouch.delivery set ended_at = now()").await;
    assert_eq!((&troubled().await[0]["name"], &troubled().await[0]["given_up"]), (&json!("merchant"), &json!(2)));
    desk.notified
        .sql("delete from avouch.delivery; update avouch.endpoint set failing_since = now() - interval '1 hour'")
        .await;
    assert!(troubled().await[0]["failing_since"].is_string());
    desk.notified.sql("update avouch.endpoint set failing_since = null").await;
    desk.at(&["disable", "merchant", "--reason", "they move"]).await.succeeds();
    assert_eq!(troubled().await[0]["reason"], "they move");
}
