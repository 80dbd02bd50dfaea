//! Endpoints that are ended for good: not with more messages than somebody has seen.

use reqwest::Method;
use serde_json::{Value, json};

use super::operated::Operated;

#[tokio::test]
async fn endpoint_for_which_messages_wait_is_removed_with_as_many_as_somebody_has_seen() {
    let desk = Operated::new(200, "").await;
    for name in ["own", "other"] {
        desk.at(&["create", name, "--url", "https://own.example/", "--topic", "payments.>"]).await.succeeds();
        desk.at(&["disable", name]).await.succeeds();
        desk.give_up(name, 3).await;
    }
    desk.notified.sql("update avouch.delivery set state = 'waiting', ended_at = null, next_at = now()").await;
    desk.at(&["remove", "own"]).await.fails_with(2).says("3 messages that wait for own are given up").says("--yes");
    desk.at(&["remove", "own", "--yes", "--reason", "contract ended"]).await.succeeds();
    let remove = async |body: Value| desk.api(Method::POST, "/v1/endpoints/other/remove", body).await;
    for fewer in [json!({}), json!({ "confirm": 0 }), json!({ "confirm": 2, "reason": "contract ended" })] {
        let (status, problem) = remove(fewer).await;
        assert_eq!(status, 409, "{problem}");
        assert!(problem["remedy"].as_str().is_some_and(|text| text.contains("confirm = 3")), "{problem}");
    }
    assert_eq!(desk.notified.count("other", "waiting").await, 3);
    assert_eq!(remove(json!({ "confirm": 3 })).await.0, 204);
    desk.notified.until_count("other", "given_up", 3).await;
}
