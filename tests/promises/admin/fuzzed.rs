//! The API against its own document, asked by somebody who makes requests up.

use avouch_tests::schemathesis::Schemathesis;

use super::Served;

/// A stream of events has no end.
const NOT_ASKED: &str = "/v1/events";
/// WebAssembly is not made up.
const NOT_DONE: &str = "deploy_plugin";
/// The document does not say how long a text or how large a number may be: what is refused as too large is no fault.
const NOT_CHECKED: &str = "positive_data_acceptance";

#[tokio::test]
async fn api_answers_as_its_document_says_and_nothing_breaks_it() {
    let served = Served::new().await;
    served.ground.insert("orders", 3, 0, 20).await;
    let token = served.token("fuzz", "admin").await;
    let (base, document) = (served.origin(), format!("{}/v1/openapi.json", served.origin()));
    let asked = Schemathesis::of(&base, &document).header("Authorization", &format!("Bearer {token}"));
    let asked = asked.without_path(NOT_ASKED).without_operation(NOT_DONE).without_check(NOT_CHECKED);
    let report = asked.run().await;
    let broken: Vec<_> = report.failures.iter().filter(|failure| failure.kind == "ServerError").collect();
    assert!(broken.is_empty(), "{broken:?}\n{}", report.text);
    report.assert_clean();
}
