//! Receivers ask what they were told: only what is theirs, signed, however they ask.

mod doors;
mod hostile;
mod lists;
mod paths;
mod windows;

use std::net::SocketAddr;

use avouch_runtime::access::{hash_token, new_token};
use avouch_tests::process::Avouch;
use avouch_tests::wait::until;
use avouch_tests::web::Asked;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use super::behaved::verified;
use super::{LIMIT, Notified, Receiver, SECRET, settings};
use crate::admin::{client, json_of, problem, send};
use crate::ground::Ground;

/// A runtime that tells endpoints and answers them.
pub struct Answering {
    pub notified: Notified,
    pub address: SocketAddr,
    http: Client,
}

impl Answering {
    pub async fn new(endpoints: &str) -> Answering {
        Answering::with("", endpoints).await
    }

    /// `more` are lines of `[notify]`. Unless they say how often may be asked, it is as often as tests like.
    pub async fn with(more: &str, endpoints: &str) -> Answering {
        let ground = Ground::new().await;
        let often = if more.contains("asks_per_s") { "" } else { "asks_per_s = 10000\n" };
        let listen = format!("[notify]\nlisten = \"127.0.0.1:0\"\n{often}{more}");
        let settings = settings(endpoints).replace("[notify]\n", &listen);
        let avouch = ground.runtime(&settings).await;
        let address = address_of(&avouch).await;
        Answering { notified: Notified { ground, settings, avouch }, address, http: client() }
    }

    /// A question of nobody.
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    /// A question of whoever has this token.
    pub fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.ask(Method::GET, path).bearer_auth(token)
    }

    /// Its answer, which there must be.
    pub async fn json(&self, path: &str, token: &str) -> Value {
        let response = send(self.get(path, token)).await;
        assert_eq!(response.status(), 200, "{path}");
        json_of(response).await
    }

    /// The ids of the messages on a page.
    pub async fn ids(&self, path: &str, token: &str) -> Vec<Uuid> {
        let answer = self.json(path, token).await;
        let messages = answer["messages"].as_array().expect("it is a page");
        messages.iter().map(|message| uuid_of(&message["id"])).collect()
    }

    /// A token of this endpoint that is valid for an hour, as the API makes one.
    pub async fn token(&self, endpoint: &str) -> String {
        let token = new_token();
        let hash = hash_token(&token).expect("it is one");
        let sql = "insert into avouch.endpoint_token (endpoint, hash, created_by, ends_at) \
                   select e.id, $2, 'test', now() + interval '1 hour' from avouch.endpoint e where e.name = $1";
        let made = self.notified.ground.client.execute(sql, &[&endpoint, &hash.as_slice()]).await;
        assert_eq!(made.expect("a token can be made"), 1, "there is an endpoint {endpoint}");
        token
    }
}

/// Where the log says that receivers are answered.
pub async fn address_of(avouch: &Avouch) -> SocketAddr {
    let line = avouch.wait_for_log("receivers are answered", LIMIT).await;
    let line: Value = serde_json::from_str(&line).expect("the log is JSON lines");
    let address = line["fields"]["address"].as_str().or_else(|| line["address"].as_str());
    address.unwrap_or_else(|| panic!("no address in {line}")).parse().expect("it is one")
}

pub fn uuid_of(value: &Value) -> Uuid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no id"))
}

/// As the reference library gets it.
async fn as_asked(request: RequestBuilder) -> (u16, Asked) {
    let response = send(request).await;
    let (status, line) = (response.status().as_u16(), response.url().path().to_owned());
    let headers = response.headers().iter();
    let headers = headers.map(|(n, v)| (n.as_str().to_owned(), v.to_str().expect("is ASCII").to_owned())).collect();
    let body = response.bytes().await.expect("it has a body").to_vec();
    (status, Asked { line, headers, body })
}

#[tokio::test]
async fn receiver_that_heard_nothing_asks_by_its_own_number_and_acts_on_the_answer() {
    let receiver = Receiver::new(500).await;
    let answering = Answering::new(&receiver.section("merchant", "schedule_s = [3600]\n")).await;
    let payload = "{\"amount\": 42, \"note\": \"Überweisung — 転送\"}";
    let message = answering.notified.insert("payment №17", payload).await;
    answering.notified.tried("merchant", message, 1).await;
    let token = answering.token("merchant").await;
    let by_number = "/v1/notify/messages?topic=payments.settled&key=payment%20%E2%84%9617";
    let page = answering.json(by_number, &token).await;
    let found = &page["messages"][0];
    assert_eq!((uuid_of(&found["id"]), &found["key"], &page["next"]), (message, &json!("payment №17"), &Value::Null));
    assert_eq!((&page["asked"], &page["endpoint"]), (&json!(by_number), &json!("merchant")));
    let whole = answering.json(&format!("/v1/notify/messages/{message}"), &token).await;
    let told = &whole["message"];
    assert_eq!((&told["state"], &told["attempts"], &told["status"]), (&json!("waiting"), &json!(1), &json!(500)));
    assert!(told["next_at"].is_string() && told["ended_at"].is_null(), "{told}");
    let expected = json!({ "content_type": "application/json", "encoding": "text", "data": payload });
    assert_eq!(whole["payload"], expected);
}

#[tokio::test]
async fn message_is_answered_in_each_state_and_its_bytes_are_those_that_were_committed() {
    let receiver = Receiver::new(200).await;
    let answering = Answering::new(&receiver.section("merchant", "schedule_s = []\n")).await;
    let Notified { ground, .. } = &answering.notified;
    let bytes: Vec<u8> = (0..=255).collect();
    let sql = "insert into avouch.outbox (topic, payload_bytes, headers) values ('payments.raw', $1, $2) returning id";
    let (none, said) = (None::<Value>, json!({ "Content-Type": "application/x-own" }));
    let raw: Uuid = ground.client.query_one(sql, &[&bytes, &none]).await.expect("it is taken").get(0);
    let own: Uuid = ground.client.query_one(sql, &[&&b"own"[..], &said]).await.expect("it is taken").get(0);
    answering.notified.until_count("merchant", "delivered", 2).await;
    receiver.answers(422);
    let refused = answering.notified.insert("1", "{}").await;
    answering.notified.until_count("merchant", "given_up", 1).await;
    receiver.answers(410);
    let waiting = answering.notified.insert("2", "plain text").await;
    until("it is disabled", LIMIT, async || {
        let sql = "select from avouch.endpoint where name = 'merchant' and state = 'disabled'";
        ground.client.query_opt(sql, &[]).await.expect("is valid").map(drop)
    })
    .await;
    let token = answering.token("merchant").await;
    for (id, state, kind, encoding) in [
        (raw, "delivered", "application/octet-stream", "base64"),
        (own, "delivered", "application/x-own", "text"),
        (refused, "given_up", "application/json", "text"),
        (waiting, "waiting", "text/plain; charset=utf-8", "text"),
    ] {
        let answer = answering.json(&format!("/v1/notify/messages/{id}"), &token).await;
        let (told, payload) = (&answer["message"], &answer["payload"]);
        assert_eq!(
            (&told["state"], &payload["content_type"], &payload["encoding"]),
            (&json!(state), &json!(kind), &json!(encoding))
        );
        assert_eq!(
            (told["ended_at"].is_string(), told["next_at"].is_string()),
            (state != "waiting", state == "waiting")
        );
        assert_eq!(answer["enabled"], false, "what is disabled may still ask, and is told that it is");
    }
    let answer = answering.json(&format!("/v1/notify/messages/{raw}"), &token).await;
    let data = answer["payload"]["data"].as_str().expect("it is there");
    assert_eq!(data_encoding::BASE64.decode(data.as_bytes()).expect("it is base64"), bytes);
}

#[tokio::test]
async fn answers_verify_with_the_reference_library_and_what_is_changed_does_not() {
    let (receiver, of_api) = (Receiver::new(200).await, Receiver::new(200).await);
    let answering = Answering::new(&receiver.section("merchant", "")).await;
    let message = answering.notified.insert("1", "{\"text\": \"転送\"}").await;
    answering.notified.until_count("merchant", "delivered", 1).await;
    let token = answering.token("merchant").await;
    let mut answers = Vec::new();
    for (path, wanted) in [
        (format!("/v1/notify/messages/{message}"), 200),
        ("/v1/notify/messages?topic=payments.settled&key=1".to_owned(), 200),
        ("/v1/notify/messages?since=2026-01-01T00:00:00Z".to_owned(), 200),
        (windows::path(3_600), 200),
        (format!("/v1/notify/messages/{}", Uuid::now_v7()), 404),
        ("/v1/notify/messages".to_owned(), 400),
    ] {
        let (status, asked) = as_asked(answering.get(&path, &token)).await;
        assert_eq!(status, wanted, "{path}");
        assert!(asked.header("webhook-id").is_some_and(|id| id.starts_with("ask_")), "{path}");
        answers.push(asked);
    }
    let signed: Vec<_> = answers.iter().map(|asked| (SECRET, asked)).collect();
    assert_eq!(verified(&signed).await, ["verified"; 6]);
    let mut changed = answers[0].clone();
    let at = changed.body.iter().position(|byte| *byte == b'd').expect("it has one");
    changed.body[at] = b'D';
    let mut of_another = answers[1].clone();
    of_another.headers.retain(|(name, _)| !name.starts_with("webhook-"));
    of_another.headers.extend(answers[0].headers.iter().filter(|(name, _)| name.starts_with("webhook-")).cloned());
    let words = verified(&[(SECRET, &changed), (SECRET, &of_another)]).await;
    assert!(words.iter().all(|word| word.starts_with("refused")), "{words:?}");
    rotated_secrets_verify(&answering, &of_api).await;
}

/// An endpoint of the API, while one secret replaces another.
async fn rotated_secrets_verify(answering: &Answering, of_api: &Receiver) {
    let newer = "whsec_bmV3ZXItc2VjcmV0LW9mLTMyLWJ5dGVzLWxvbmchIQ==";
    let sql = format!(
        "with made as (insert into avouch.endpoint (name, url, topics, settings, origin) \
           values ('shop', '{}/hook', '{{payments.>}}', '{{}}', 'api') returning id) \
         insert into avouch.endpoint_secret (endpoint, kind, value, ends_at) \
         select id, 'signature', '{SECRET}', now() + interval '1 hour' from made union all \
         select id, 'signature', '{newer}', null from made",
        of_api.web.origin()
    );
    answering.notified.sql(&sql).await;
    let token = answering.token("shop").await;
    let (_, asked) = as_asked(answering.get("/v1/notify/messages?since=2026-01-01T00:00:00Z", &token)).await;
    assert_eq!(verified(&[(newer, &asked), (SECRET, &asked)]).await, ["verified"; 2]);
    answering
        .notified
        .sql(&format!("update avouch.endpoint_secret set ends_at = now() where value = '{SECRET}'"))
        .await;
    let (_, asked) = as_asked(answering.get("/v1/notify/messages?since=2026-01-01T00:00:00Z", &token)).await;
    let words = verified(&[(newer, &asked), (SECRET, &asked)]).await;
    assert!(words[0] == "verified" && words[1].starts_with("refused"), "{words:?}");
    answering.notified.sql("delete from avouch.endpoint_secret").await;
    let unsigned = problem(answering.get("/v1/notify/messages?since=2026-01-01T00:00:00Z", &token), 503).await;
    assert!(unsigned["detail"].as_str().is_some_and(|detail| detail.contains("shop")), "nothing goes out unsigned");
}

#[tokio::test]
async fn endpoint_sees_what_it_is_told_and_nothing_tells_of_the_rest() {
    let (own, other) = (Receiver::new(200).await, Receiver::new(500).await);
    let filter = "filter = { merchant = \"m17\" }\n";
    let refunds = other.section("other", "").replace("payments.>", "payments.refunded");
    let answering = Answering::new(&format!("{}{refunds}", own.section("own", filter))).await;
    let mine = answering.notified.insert("42", "{}").await;
    let sql = "insert into avouch.outbox (topic, key, payload) values ('payments.refunded', '42', '\"a secret\"') returning id";
    let theirs: Uuid = answering.notified.ground.client.query_one(sql, &[]).await.expect("it is taken").get(0);
    answering.notified.until_count("own", "delivered", 1).await;
    answering.notified.until_count("other", "waiting", 1).await;
    let token = answering.token("own").await;
    let unknown = Uuid::now_v7();
    let mut refusals = Vec::new();
    for id in [theirs, unknown] {
        let problem = problem(answering.get(&format!("/v1/notify/messages/{id}"), &token), 404).await;
        refusals.push(problem.to_string().replace(&id.to_string(), "ID"));
    }
    assert_eq!(refusals[0], refusals[1], "another's message is as unknown as none");
    let since = "/v1/notify/messages?since=2026-01-01T00:00:00Z";
    assert_eq!(answering.ids(since, &token).await, [mine]);
    assert_eq!(answering.ids("/v1/notify/messages?topic=payments.settled&key=42", &token).await, [mine]);
    assert_eq!(answering.ids("/v1/notify/messages?topic=payments.refunded&key=42", &token).await, [] as [Uuid; 0]);
    let counted = windows::counted(&answering, &token, 3_600).await;
    assert_eq!(counted.iter().map(|window| window.count).sum::<i64>(), 1);
    let other = answering.token("other").await;
    assert_eq!(answering.ids(since, &other).await, [theirs]);
}

#[tokio::test]
async fn what_is_recorded_while_a_receiver_asks_is_seen_at_its_next_question() {
    let receiver = Receiver::new(200).await;
    let answering = Answering::new(&receiver.section("merchant", "")).await;
    let token = answering.token("merchant").await;
    let by_key = "/v1/notify/messages?topic=payments.settled&key=late";
    assert_eq!(answering.ids(by_key, &token).await, [] as [Uuid; 0]);
    let message = answering.notified.insert("late", "{}").await;
    until("it is seen", LIMIT, async || (answering.ids(by_key, &token).await == [message]).then_some(())).await;
}
