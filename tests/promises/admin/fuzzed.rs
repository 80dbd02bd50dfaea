//! The API against its own document, asked by somebody who makes requests up.

use avouch_tests::schemathesis::Schemathesis;

use super::Served;

/// A stream of events has no end.
const ENDLESS: &str = "/v1/events";

#[tokio::test]
async fn api_answers_as_its_document_says_and_nothing_breaks_it() {
    let served = Served::new().await;
    served.ground.insert("orders", 3, 0, 20).await;
    let token = served.token("fuzz", "admin").await;
    let (base, document) = (served.origin(), format!("{}/v1/openapi.json", served.origin()));
    let asked = Schemathesis::of(&base, &document).header("Authorization", &format!("Bearer {token}"));
    let report = asked.without_path(ENDLESS).run().await;
    let broken: Vec<_> = report.failures.iter().filter(|failure| failure.kind == "ServerError").collect();
    assert!(broken.is_empty(), "{broken:?}\n{}", report.text);
    report.assert_clean();
}
