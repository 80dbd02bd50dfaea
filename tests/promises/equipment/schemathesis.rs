//! What an API does against its own OpenAPI document is found.

use avouch_tests::schemathesis::Schemathesis;
use avouch_tests::web::{Web, reply};
use serde_json::json;

/// An API of two paths, which keep their document unless `fault` says otherwise: it answers with a status and a body.
async fn api(fault: fn(&str) -> Option<(u16, String)>) -> Web {
    Web::start(move |asked, socket| {
        let method = asked.line.split(' ').next().unwrap_or_default().to_owned();
        let (path, query) = asked.path().split_once('?').unwrap_or((asked.path(), ""));
        let (status, body) = match (method.as_str(), path) {
            ("GET", "/openapi.json") => (200, document()),
            ("GET", "/things") => fault(query).unwrap_or_else(|| things(query)),
            ("GET", "/health") => (200, json!({"n": 1}).to_string()),
            (_, "/things" | "/health") => (405, "{}".to_owned()),
            _ => (404, "{}".to_owned()),
        };
        let headers = "content-type: application/json\r\nallow: GET\r\n".to_owned();
        reply(socket, status, headers, body.into_bytes())
    })
    .await
}

fn document() -> String {
    let thing = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let good = json!({"description": "good", "content": {"application/json": {"schema": thing}}});
    let parameter = json!({"name": "n", "in": "query", "required": true, "schema": {"type": "integer"}});
    let bad = json!({"description": "bad"});
    let paths = json!({
        "/things": {"get": {"parameters": [parameter], "responses": {"200": good, "400": bad}}},
        "/health": {"get": {"responses": {"200": good}}},
    });
    json!({"openapi": "3.1.0", "info": {"title": "Things", "version": "1"}, "paths": paths}).to_string()
}

/// Good is a query with nothing but an integer.
fn things(query: &str) -> (u16, String) {
    let number = query.strip_prefix("n=").map(|text| text.strip_prefix('-').unwrap_or(text));
    let is_good = number.is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    if is_good { (200, json!({"n": 1}).to_string()) } else { (400, "{}".to_owned()) }
}

fn asked(web: &Web) -> Schemathesis {
    Schemathesis::of(&web.origin(), &format!("{}/openapi.json", web.origin()))
}

#[tokio::test]
async fn api_that_keeps_its_document_is_clean() {
    let web = api(|_| None).await;
    let report = asked(&web).header("Authorization", "Bearer token").run().await;
    report.assert_clean();
    assert_eq!(report.operations, 2);
    let asked = web.asked();
    let things: Vec<_> = asked.iter().filter(|asked| asked.path().starts_with("/things")).collect();
    assert!(things.len() > 10, "{}", report.text);
    assert!(things.iter().any(|asked| asked.header("authorization") == Some("Bearer token")), "headers are sent");
}

#[tokio::test]
async fn server_error_is_found() {
    let web = api(|query| query.contains('-').then(|| (500, "{}".to_owned()))).await;
    let report = asked(&web).run().await;
    let found = report.failures.iter().find(|failure| failure.kind == "ServerError").expect("it is found");
    assert!(found.operations.contains(&"GET /things".to_owned()), "{found:?}");
    assert!(report.text.contains("curl"), "it says how to see it: {}", report.text);
}

#[tokio::test]
async fn answer_against_the_document_is_found() {
    let web = api(|_| Some((200, json!({"n": "one"}).to_string()))).await;
    let report = asked(&web).run().await;
    let kinds: Vec<_> = report.failures.iter().map(|failure| failure.kind.as_str()).collect();
    assert!(kinds.contains(&"JsonSchemaError") && kinds.contains(&"AcceptedNegativeData"), "{}", report.text);
    let report = asked(&web).without_path("/things").run().await;
    report.assert_clean();
    assert_eq!(report.operations, 1);
}
