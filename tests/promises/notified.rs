//! The rule `notification` at work: plugins say what an outside party is sent, and what its answer means.

use avouch_runtime::rules::{
    Bindings, Delivery, File, Grants, Message, NotificationResponse, Outcome, Plugin, Rules, Seen, ShapedRequest,
    Verdict,
};
use avouch_tests::plugins;
use avouch_tests::web::Web;
use serde_json::{Value, json};

use crate::admin::{client, send};
use crate::cli::avouch;
use crate::hostile::{limits, rules, transaction};
use crate::schema::File as Scratch;

/// The third try to tell a shop, about a message with this payload.
pub fn delivery(payload: &str) -> Delivery {
    Delivery { endpoint: "shop".into(), tenant: "acme".into(), attempt: 2, message: message(payload) }
}

/// A whole answer.
pub fn answered(status: u16, body: &str) -> NotificationResponse {
    NotificationResponse { status, headers: Vec::new(), body: body.into(), body_is_cut: false }
}

fn message(payload: &str) -> Message {
    Message {
        id: "0198b3a0-0000-7000-8000-000000000001".into(),
        topic: "orders.paid".into(),
        key: Some("ключ".into()),
        payload: payload.into(),
        payload_bytes: payload.len().try_into().expect("it is short"),
        headers: vec![("a".into(), "b".into())],
        created_at_ms: u64::MAX,
        generation: 1,
    }
}

async fn load(rules: &Rules, name: &str, settings: &[(&str, &str)]) -> Plugin {
    let wasm = std::fs::read(plugins::file(name)).expect("it is built");
    let file = File::read(wasm, limits().file_bytes_max).expect("it is a plugin");
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let grants = Grants { bindings: file.manifest.requests(), settings };
    rules.load(&file, &grants).await.expect("it can be used")
}

/// Sends it as whoever tells outside parties would.
async fn post(shaped: &ShapedRequest, endpoint: &str) -> NotificationResponse {
    let mut request = client().post(shaped.url(endpoint).expect("it is a URL")).body(shaped.body.clone());
    for (name, value) in &shaped.headers {
        request = request.header(name, value);
    }
    let response = send(request).await;
    let (status, body) = (response.status().as_u16(), response.text().await.expect("it ends"));
    answered(status, &body)
}

#[tokio::test]
async fn shop_is_told_by_a_form_until_it_says_success() {
    let says = [(500, "success"), (200, "busy"), (200, " success\n")];
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let web = Web::answering(move |_| {
        let (status, body) = says[asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed)];
        (status, body.to_owned())
    })
    .await;
    let rules = rules(&limits(), &Bindings::default());
    let fields = "out_trade_no=/order/id total_amount=/order/amount";
    let plugin = load(&rules, "form-notify", &[("fields", fields), ("path", "/notify?v=1")]).await;
    let (endpoint, payload) = (format!("{}/pay?shop=7", web.origin()), r#"{"order": {"id": "A&7", "amount": 10.50}}"#);
    let mut outcomes = Vec::new();
    for attempt in 0..3 {
        let d = Delivery { attempt, ..delivery(payload) };
        let shaped = rules.shape(&plugin, &d).await.verdict.expect("the payload has both fields");
        let read = rules.read(&plugin, &d, &post(&shaped, &endpoint).await).await;
        outcomes.push(read.verdict.expect("it always answers"));
    }
    assert!(matches!(outcomes[..], [Outcome::Retry(None), Outcome::Retry(None), Outcome::Delivered]), "{outcomes:?}");
    for asked in web.asked() {
        assert_eq!(asked.line, "POST /pay/notify?shop=7&v=1 HTTP/1.1");
        assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(asked.body, b"out_trade_no=A%267&total_amount=10.50");
    }
    let reject = rules.read(&plugin, &delivery(payload), &answered(404, "reject")).await.verdict;
    assert!(matches!(&reject, Ok(Outcome::GiveUp(why)) if why.contains("rejects")), "{reject:?}");
}

#[tokio::test]
async fn payload_without_a_field_of_the_form_is_told_to_nobody() {
    let rules = rules(&limits(), &Bindings::default());
    let plugin = load(&rules, "form-notify", &[]).await;
    let shaped = rules.shape(&plugin, &delivery(r#"{"name": 7}"#)).await.verdict;
    let why = shaped.expect_err("there is no id");
    assert_eq!((why.class(), why.to_string().as_str()), ("permanent", "the payload has no /id"));
}

#[tokio::test]
async fn plugin_with_every_rule_answers_to_each() {
    let rules = rules(&limits(), &Bindings::default());
    let plugin = load(&rules, "every-rule", &[]).await;
    assert!(plugin.answers_for_transactions() && plugin.recognises_repeated_work() && plugin.tells_outside_parties());
    let verdict = rules.ask(&plugin, &transaction("every-rule", "")).await.verdict;
    assert!(matches!(verdict, Ok(Verdict::Commit)), "{verdict:?}");
    let d = delivery("{}");
    let identity = rules.identify(&plugin, "mailer", &d.message).await.verdict.expect("it is readable");
    assert_eq!(identity.key, format!("mailer/{}", d.message.id));
    let seen = Seen { identity, record: None };
    assert!(rules.decide(&plugin, "mailer", &d.message, &seen).await.verdict.is_ok());
    assert!(rules.shape(&plugin, &d).await.verdict.is_ok());
    for (order, ms) in [(json!({ "outcome": "retry" }), None), (json!({ "outcome": "retry", "ms": 7 }), Some(7))] {
        let read = rules.read(&plugin, &delivery(&order.to_string()), &answered(500, "")).await.verdict;
        assert!(matches!(&read, Ok(Outcome::Retry(told)) if *told == ms), "{read:?}");
    }
}

#[tokio::test]
async fn delivery_answer_and_request_arrive_whole() {
    let rules = rules(&limits(), &Bindings::default());
    let plugin = load(&rules, "every-rule", &[]).await;
    let order = json!({ "path": "/a%20b?c=d", "headers": [["X-A", "é"], ["x-a", ""]] }).to_string();
    let d = delivery(&order);
    let given = json!(["shop", "acme", 2, d.message.id, "orders.paid", "ключ", [["a", "b"]]]);
    let shaped = rules.shape(&plugin, &d).await.verdict.expect("it is within the bounds");
    assert_eq!(shaped.path.as_deref(), Some("/a%20b?c=d"));
    assert_eq!(serde_json::from_slice::<Value>(&shaped.body).expect("it is JSON"), given);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = [header("content-type", "application/json"), header("X-A", "é"), header("x-a", "")];
    assert_eq!(shaped.headers, headers);
    for (body, body_is_cut) in [("", false), ("жest", true)] {
        let headers = vec![header("retry-after", "7"), header("x-b", "c")];
        let response = NotificationResponse { headers, body_is_cut, ..answered(599, body) };
        let read = rules.read(&plugin, &d, &response).await.verdict;
        let Ok(Outcome::GiveUp(echo)) = read else { panic!("{read:?}") };
        let expected = json!([given, 599, 2, ["retry-after", "7"], body.len(), body_is_cut]);
        assert_eq!(serde_json::from_str::<Value>(&echo).expect("it is JSON"), expected);
    }
}

#[tokio::test]
async fn notification_is_tested_in_the_production_engine() {
    let wasm = plugins::file("form-notify");
    let test = async |cases: &str| {
        let cases = Scratch::new("cases.json", cases);
        let wasm = wasm.to_str().expect("a UTF-8 path");
        avouch(&["plugin", "test", wasm, "--cases", cases.path(), "--set", "fields=no=/n"], &[]).await
    };
    let paid = r#""delivery": {"attempt": 3, "message": {"topic": "paid", "payload": {"n": 7}}}"#;
    let fine = format!(
        r#"[{{"name": "form", {paid}, "body": "no=7", "expect": "shaped"}},
            {{"delivery": {{"message": {{"topic": "paid", "payload": "no json"}}}}, "expect": "error"}},
            {{{paid}, "response": {{"status": 200, "body": "success"}}, "expect": "delivered"}},
            {{{paid}, "response": {{"status": 200, "body": "success", "body_is_cut": true}}, "expect": "retry"}},
            {{{paid}, "response": {{"status": 400, "body": "reject"}}, "expect": "give-up"}}]"#
    );
    test(&fine).await.succeeds().says("ok   form: shaped").says("no=7").says("ok   case 3: delivered");
    let wrong = format!(
        r#"[{{{paid}, "body": "no=8", "expect": "shaped"}}, {{{paid}, "response": {{"status": 200}}, "expect": "delivered"}}]"#
    );
    let told = test(&wrong).await.fails_with(1);
    told.says("FAIL case 1: shaped")
        .says("expected another body")
        .says("FAIL case 2: retry")
        .says("expected delivered");
    test(&format!("[{{{paid}, \"transaction\": {{}}, \"expect\": \"shaped\"}}]"))
        .await
        .fails_with(1)
        .says("case 1: write");
}

#[tokio::test]
async fn check_of_a_file_names_its_rules() {
    let check = async |name: &str| {
        let file = plugins::file(name);
        avouch(&["plugin", "check", file.to_str().expect("a UTF-8 path")], &[]).await.succeeds()
    };
    let file = plugins::file("form-notify");
    let told = avouch(&["plugin", "check", file.to_str().expect("a UTF-8 path"), "--json"], &[]).await.succeeds().text;
    let told: serde_json::Value = serde_json::from_str(&told).expect("is one document");
    assert_eq!(told["does"], serde_json::json!(["tells outside parties"]), "{told:#}");
    assert_eq!(told["settings"]["fields"], "id=/id", "{told:#}");
    check("every-rule").await.says("it answers for transactions, recognises repeated work and tells outside parties.");
    check("form-notify").await.says("it tells outside parties.").says("setting fields, by default \"id=/id\"");
    check("fingerprint").await.says("it recognises repeated work.");
}
