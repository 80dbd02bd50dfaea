//! The control plane: what producers without database access ask over NATS, and what they are told.

use std::collections::BTreeSet;

use async_nats::{Client, Message, RequestErrorKind};
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::OwnNats;
use avouch_tests::stream::jetstream_at;
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ground::Ground;
use crate::producers::url_of;

/// A ground with a broker of its own: on the shared one, instances of other tests would answer too.
pub struct Desk {
    pub ground: Ground,
    pub nats: Client,
    _server: OwnNats,
}

impl Desk {
    pub async fn new() -> Desk {
        let server = OwnNats::start().await;
        let ground = Ground::with(Database::create().await, server.url(), jetstream_at(&server.url()).await).await;
        let nats = async_nats::connect(server.url()).await.expect("the server runs");
        Desk { ground, nats, _server: server }
    }

    /// A runtime whose service can be found.
    pub async fn runtime(&self, more: &str) -> Avouch {
        let avouch = self.ground.runtime(more).await;
        self.is_found().await;
        avouch
    }

    async fn is_found(&self) {
        until("the service to answer", secs(10), async || {
            let ping = self.nats.request("$SRV.PING.avouch", "".into()).await;
            ping.is_ok().then_some(())
        })
        .await;
    }

    pub async fn ask(&self, endpoint: &str, body: Value) -> Value {
        let answer = self.send(endpoint, body.to_string().into_bytes()).await;
        assert!(error_code(&answer).is_none(), "{endpoint} {body}: {answer:?}");
        serde_json::from_slice(&answer.payload).expect("an answer is JSON")
    }

    /// The header's code, and the body's code and message.
    async fn refused(&self, endpoint: &str, body: Vec<u8>) -> (String, Value) {
        let answer = self.send(endpoint, body).await;
        let status = error_code(&answer).unwrap_or_else(|| panic!("{endpoint} must be refused: {answer:?}"));
        let body: Value = serde_json::from_slice(&answer.payload).expect("an error has a body of JSON");
        assert!(!body["error"]["message"].as_str().expect("it says what to do").is_empty());
        (status, body["error"].clone())
    }

    async fn send(&self, endpoint: &str, body: Vec<u8>) -> Message {
        let answer = self.nats.request(format!("avouch.v1.{endpoint}"), body.into()).await;
        answer.unwrap_or_else(|e| panic!("{endpoint} must be answered: {e}"))
    }

    async fn rows(&self, sql: &str) -> i64 {
        self.ground.client.query_one(sql, &[]).await.expect("it can be counted").get(0)
    }
}

fn error_code(answer: &Message) -> Option<String> {
    let headers = answer.headers.as_ref()?;
    assert!(headers.get("Nats-Service-Error").is_some(), "a code comes with a text");
    headers.get("Nats-Service-Error-Code").map(ToString::to_string)
}

pub fn payment(id: Uuid) -> Value {
    json!({
        "id": id, "checker": "payment-check", "check_after_ms": 300_000, "ref": "payment-42",
        "messages": [
            { "topic": "payments.settled", "key": "42", "payload": { "b": 1, "a": 2 }, "headers": { "traceparent": "00" } },
            { "topic": "payments.label", "key": "42", "payload_base64": "AP8=", "dedup_key": id.to_string() },
            { "topic": "payments.cancel", "key": "42", "payload": null, "release_on": "rollback",
              "not_before": "2020-01-01T00:00:00Z" },
        ],
    })
}

#[tokio::test]
async fn producer_without_a_database_prepares_decides_and_looks_over_nats() {
    let desk = Desk::new().await;
    let _avouch = desk.runtime("").await;
    let (paid, declined) = (Uuid::now_v7(), Uuid::now_v7());
    for id in [paid, declined] {
        assert_eq!(desk.ask("tx.prepare", payment(id)).await, json!({ "id": id, "state": "prepared" }));
        let status = desk.ask("tx.status", json!({ "id": id })).await;
        assert_eq!((&status["state"], &status["messages"]), (&json!("prepared"), &json!(3)));
        assert_eq!((&status["checker"], &status["ref"]), (&json!("payment-check"), &json!("payment-42")));
        assert!(status["age_ms"].as_i64().is_some_and(|ms| (0..60_000).contains(&ms)), "{status}");
    }
    let without_id = desk.ask("tx.prepare", json!({ "checker": "c", "check_after_ms": 60_000 })).await;
    assert!(Uuid::try_parse(without_id["id"].as_str().expect("it has one")).is_ok());
    // A repeated word changes nothing.
    for _ in 0..2 {
        assert_eq!(desk.ask("tx.commit", json!({ "id": paid })).await["state"], "committed");
        let word = json!({ "id": declined, "reason": "the card was declined" });
        assert_eq!(desk.ask("tx.rollback", word).await["state"], "rolled_back");
    }
    let status = desk.ask("tx.status", json!({ "id": declined })).await;
    assert_eq!((&status["state"], &status["reason"]), (&json!("rolled_back"), &json!("the card was declined")));
    desk.ground.drained().await;
    let stream = desk.ground.stream().await;
    let payloads: Vec<&[u8]> = stream.iter().map(|m| &m.payload[..]).collect();
    assert_eq!(payloads, [&br#"{"a":2,"b":1}"#[..], b"\x00\xff", b"null"], "in their order, as they were written");
    let id = stream[0].header("Avouch-Id").expect("every message of ours has it");
    let message = until("the message to be marked", secs(10), async || {
        let message = desk.ask("message.get", json!({ "id": id })).await;
        (message["state"] == "sent").then_some(message)
    })
    .await;
    assert_eq!((&message["topic"], &message["key"]), (&json!("payments.settled"), &json!("42")));
    assert_eq!((&message["stream"], &message["sequence"]), (&json!(desk.ground.names.stream), &json!(1)));
    assert!(message.get("payload").is_none() && message["generation"] == 0, "{message}");
}

#[tokio::test]
async fn service_is_found_by_the_tools_of_nats_micro() {
    let desk = Desk::new().await;
    let _avouch = desk.runtime("").await;
    let info = desk.nats.request("$SRV.INFO.avouch", "".into()).await.expect("it is answered");
    let info: Value = serde_json::from_slice(&info.payload).expect("it is JSON");
    assert_eq!((&info["name"], &info["version"]), (&json!("avouch"), &json!(env!("CARGO_PKG_VERSION"))));
    let endpoints = info["endpoints"].as_array().expect("it lists them").iter();
    let subjects: BTreeSet<&str> = endpoints.filter_map(|e| e["subject"].as_str()).collect();
    let all = ["tx.prepare", "tx.commit", "tx.rollback", "tx.status", "message.get"].map(|e| format!("avouch.v1.{e}"));
    assert_eq!(subjects, all.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn repeated_prepare_makes_one_transaction_and_one_set_of_messages() {
    let desk = Desk::new().await;
    let _avouch = (desk.runtime("").await, desk.runtime("").await);
    let id = Uuid::now_v7();
    let answers = join_all((0..16).map(|_| desk.ask("tx.prepare", payment(id)))).await;
    assert!(answers.iter().all(|a| *a == json!({ "id": id, "state": "prepared" })), "{answers:?}");
    let counts =
        (desk.rows("select count(*) from avouch.tx").await, desk.rows("select count(*) from avouch.outbox").await);
    assert_eq!(counts, (1, 3));
    assert_eq!(desk.rows("select messages::bigint from avouch.tx").await, 3);
    desk.ask("tx.commit", json!({ "id": id })).await;
    assert_eq!(desk.ask("tx.prepare", payment(id)).await["state"], "committed", "a repeat tells the present state");
    let mut other = payment(id);
    other["ref"] = json!("payment-43");
    let (status, error) = desk.refused("tx.prepare", other.to_string().into_bytes()).await;
    assert_eq!((&*status, &error["code"]), ("409", &json!("conflict")));
}

#[tokio::test]
async fn errors_over_nats_are_typed_and_name_the_rule() {
    let desk = Desk::new().await;
    // The rights of the runtime's role are enough.
    let role = format!("role_{}", Uuid::now_v7().simple());
    let create = format!("create role {role} login in role avouch_runtime");
    desk.ground.client.batch_execute(&create).await.expect("a role can be made");
    let config = desk.ground.config("").replace(desk.ground.database.url(), &url_of(&desk.ground.database, &role));
    let avouch = Avouch::run(&config).await;
    avouch.wait_for_log("avouch runs", secs(30)).await;
    desk.is_found().await;
    let taken = Uuid::now_v7();
    desk.ask("tx.prepare", payment(taken)).await;
    let with = |message: Value| json!({ "checker": "c", "check_after_ms": 60_000, "messages": [message] });
    let none = json!({ "id": Uuid::now_v7() });
    for (endpoint, body, status, code, rule) in [
        ("tx.status", none.clone(), "404", "not_found", None),
        ("tx.commit", none.clone(), "404", "not_found", None),
        ("tx.rollback", none.clone(), "404", "not_found", None),
        ("message.get", none, "404", "not_found", None),
        ("tx.prepare", with(json!({ "topic": "no blanks", "payload": 1 })), "422", "refused", Some("topic_tokens")),
        ("tx.prepare", with(json!({ "topic": "t" })), "422", "refused", Some("payload_exactly_one")),
        (
            "tx.prepare",
            with(json!({ "topic": "t", "payload": 1, "headers": { "Nats-Msg-Id": "x" } })),
            "422",
            "refused",
            Some("headers_names"),
        ),
        (
            "tx.prepare",
            with(json!({ "topic": "t", "payload": 1, "release_on": "never" })),
            "422",
            "refused",
            Some("release_on_known"),
        ),
        (
            "tx.prepare",
            json!({ "checker": "no blanks", "check_after_ms": 1 }),
            "422",
            "refused",
            Some("tx_checker_name"),
        ),
        (
            "tx.prepare",
            with(json!({ "topic": "payments.label", "payload": 1, "dedup_key": taken.to_string() })),
            "409",
            "conflict",
            None,
        ),
        ("tx.prepare", with(json!({ "topic": "t", "payload": 1, "key": "a\u{0}b" })), "400", "invalid", None),
        ("tx.prepare", with(json!({ "topic": "t", "payload": 1, "not_before": "soon" })), "400", "invalid", None),
        ("tx.prepare", json!({ "checker": "c", "check_after_ms": i64::MAX }), "400", "invalid", None),
    ] {
        let (found, error) = desk.refused(endpoint, body.to_string().into_bytes()).await;
        let told = (&*found, error["code"].as_str(), error.get("rule").and_then(Value::as_str));
        assert_eq!(told, (status, Some(code), rule), "{endpoint} {body}: {error}");
    }
    assert_eq!(desk.rows("select count(*) from avouch.tx").await, 1, "a refused prepare leaves nothing");
    drop(avouch);
    until("the role to be free", secs(10), async || {
        desk.ground.client.batch_execute(&format!("drop role {role}")).await.ok()
    })
    .await;
}

#[tokio::test]
async fn garbage_is_answered() {
    let desk = Desk::new().await;
    let _avouch = desk.runtime("").await;
    let megabyte = vec![b'x'; 1 << 20];
    let nested = [vec![b'['; 50_000], vec![b']'; 50_000]].concat();
    let half = br#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057"#;
    for endpoint in ["tx.prepare", "tx.commit", "tx.rollback", "tx.status", "message.get"] {
        for body in [
            &b""[..],
            b"not JSON",
            b"\xff\xfe\x00",
            b"[]",
            b"{}",
            b"null",
            half,
            br#"{"id":"42"}"#,
            br#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","checker":"c","check_after_ms":1,"surprise":true}"#,
            br#"{"checker":"c","check_after_ms":-1}"#,
            &megabyte,
            &nested,
        ] {
            let (status, error) = desk.refused(endpoint, body.to_vec()).await;
            assert_eq!((&*status, &error["code"]), ("400", &json!("invalid")), "{endpoint}: {error}");
        }
    }
    let deep = format!(
        r#"{{"checker":"c","check_after_ms":1,"messages":[{{"topic":"t","payload":1,"headers":{}{}}}]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(desk.refused("tx.prepare", deep.into_bytes()).await.0, "400");
    // Nobody waits for this one, and it must not stop the others.
    desk.nats.publish("avouch.v1.tx.status", "garbage".into()).await.expect("it can be sent");
    desk.ask("tx.prepare", payment(Uuid::now_v7())).await;
}

#[tokio::test]
async fn instances_answer_as_one_and_one_of_them_may_stop() {
    let desk = Desk::new().await;
    let (_first, mut second) = (desk.runtime("").await, desk.runtime("").await);
    let mut pings = desk.nats.subscribe("found").await.expect("the server runs");
    until("both to be found", secs(10), async || {
        desk.nats.publish_with_reply("$SRV.PING.avouch", "found", "".into()).await.expect("the server runs");
        let found = async { (pings.next().await, pings.next().await) };
        let (one, two) = tokio::time::timeout(secs(1), found).await.ok()?;
        (one?.payload != two?.payload).then_some(())
    })
    .await;
    // Each request gets one answer, whoever gives it.
    let mut answers = desk.nats.subscribe("answers.*").await.expect("the server runs");
    let asked = 100;
    for n in 0..asked {
        let body = json!({ "checker": "c", "check_after_ms": 60_000 }).to_string();
        let asking = desk.nats.publish_with_reply("avouch.v1.tx.prepare", format!("answers.{n}"), body.into());
        asking.await.expect("the server runs");
        if n % 20 == 19 {
            // Below what is carried out at a time.
            until("the last ones to be done", secs(10), async || {
                (desk.rows("select count(*) from avouch.tx").await > n).then_some(())
            })
            .await;
        }
    }
    let mut seen = BTreeSet::new();
    for _ in 0..asked {
        let answer = tokio::time::timeout(secs(10), answers.next()).await.expect("each is answered");
        let answer = answer.expect("the subscription goes on");
        assert!(error_code(&answer).is_none(), "{answer:?}");
        assert!(seen.insert(answer.subject.to_string()), "{} was answered twice", answer.subject);
    }
    assert_eq!(desk.rows("select count(*) from avouch.tx").await, asked, "none was carried out twice");
    // Core NATS keeps nothing: what was on its way to the one that stops is repeated.
    second.signal(nix::sys::signal::Signal::SIGTERM);
    let ids: Vec<Uuid> = (0..asked).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        until("an answer", secs(30), async || {
            let request = async_nats::Request::new().payload(payment(*id).to_string().into()).timeout(Some(secs(2)));
            desk.nats.send_request("avouch.v1.tx.prepare", request).await.ok()
        })
        .await;
    }
    second.wait_for_end(secs(20)).await;
    assert_eq!(desk.rows("select count(*) from avouch.tx").await, 2 * asked);
    assert_eq!(desk.rows("select count(*) from avouch.outbox").await, 3 * asked);
}

#[tokio::test]
async fn requests_over_the_bound_are_told_to_come_again() {
    let desk = Desk::new().await;
    let _avouch = desk.runtime("[control]\nrequests_max = 2").await;
    let mut client = desk.ground.database.client().await;
    // Whoever prepares waits for this lock.
    let lock = client.transaction().await.expect("a transaction can be begun");
    lock.batch_execute("lock table avouch.tx in exclusive mode").await.expect("it can be locked");
    let body = || json!({ "checker": "c", "check_after_ms": 60_000 }).to_string();
    let waiting = [desk.send("tx.prepare", body().into()), desk.send("tx.prepare", body().into())];
    let waiting = tokio::time::timeout(secs(8), join_all(waiting));
    let refused = async {
        let refused = until("one to be refused", secs(8), async || {
            let asked = desk.nats.send_request(
                "avouch.v1.tx.prepare",
                async_nats::Request::new().payload(body().into()).timeout(Some(secs(1))),
            );
            match asked.await {
                Ok(answer) => Some(answer),
                Err(e) if e.kind() == RequestErrorKind::TimedOut => None,
                Err(e) => panic!("{e}"),
            }
        })
        .await;
        lock.rollback().await.expect("it can be left");
        refused
    };
    let (waiting, refused) = tokio::join!(waiting, refused);
    assert_eq!(error_code(&refused).as_deref(), Some("503"));
    assert!(waiting.expect("they go on").iter().all(|a| error_code(a).is_none()));
}

#[tokio::test]
async fn control_plane_that_is_off_offers_nothing() {
    let desk = Desk::new().await;
    let _avouch = desk.ground.runtime("[control]\nenabled = false").await;
    for subject in ["$SRV.PING.avouch", "avouch.v1.tx.status"] {
        let error = desk.nats.request(subject, "".into()).await.expect_err("nobody answers");
        assert_eq!(error.kind(), RequestErrorKind::NoResponders, "{subject}");
    }
}
