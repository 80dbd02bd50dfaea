//! What the history says of what people did: who and why, once; and nobody's name where nobody did it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Desk;

/// The events of a message or transaction, as the commands tell them.
async fn events(desk: &Desk, of: &str, id: Uuid) -> Vec<Value> {
    desk.json(&[of, "show", &id.to_string()]).await["timeline"].as_array().expect("a list").clone()
}

/// The last one of this name.
#[track_caller]
fn last<'a>(events: &'a [Value], what: &str) -> &'a Value {
    events.iter().rev().find(|event| event["what"] == what).unwrap_or_else(|| panic!("no {what} in {events:#?}"))
}

#[track_caller]
fn is_of_the_command(event: &Value) {
    assert!(event["actor"].as_str().is_some_and(|who| who.starts_with("cli:")), "{event:#}");
}

#[tokio::test]
async fn resend_to_a_consumer_is_told_as_one_with_who_and_why() {
    let desk = Desk::new().await;
    let id = desk.dead_for_billing;
    desk.at(&["resend", &id.to_string(), "--reason", "the order is there now"]).await.succeeds();
    let told = events(&desk, "messages", id).await;
    let resent = last(&told, "resent");
    is_of_the_command(resent);
    assert_eq!(
        (&resent["detail"]["from"], &resent["detail"]["why"]),
        (&json!("dead"), &json!("the order is there now"))
    );
    let pending = last(&told, "missed");
    is_of_the_command(pending);
    assert_eq!(pending["detail"]["why"], "the order is there now", "of its consumer's part too: {pending:#}");
    let sent = told.iter().filter(|event| event["what"] == "sent" && event["detail"]["from"] == "dead").count();
    assert_eq!(sent, 0, "nothing was sent yet: {told:#?}");
    let shown = desk.at(&["messages", "show", &id.to_string()]).await.succeeds();
    shown.says("resent").says("the order is there now");
}

#[tokio::test]
async fn resend_in_plain_sql_is_told_with_the_user_of_the_database() {
    let desk = Desk::new().await;
    for id in [desk.dead, desk.dead_for_billing] {
        let sql = format!("select avouch.resend('{id}')");
        desk.client.batch_execute(&sql).await.expect("it is dead");
        let told = events(&desk, "messages", id).await;
        let resent = last(&told, "resent");
        assert_eq!((&resent["actor"], &resent["detail"].get("why")), (&json!("postgres"), &None), "{resent:#}");
    }
}

#[tokio::test]
async fn reason_that_is_kept_with_the_row_is_told_once() {
    let desk = Desk::new().await;
    desk.at(&["discard", &desk.dead.to_string(), "--reason", "refunded by hand"]).await.succeeds();
    let told = events(&desk, "messages", desk.dead).await;
    let discarded = last(&told, "discarded");
    is_of_the_command(discarded);
    assert_eq!((&discarded["detail"]["reason"], discarded["detail"].get("why")), (&json!("refunded by hand"), None));
    desk.at(&["tx", "recheck", &desk.tx.to_string(), "--reason", "the bank is back"]).await.succeeds();
    let told = events(&desk, "tx", desk.tx).await;
    let rechecked = last(&told, "prepared");
    is_of_the_command(rechecked);
    assert_eq!(rechecked["detail"]["why"], "the bank is back", "a recheck keeps no reason in its row: {rechecked:#}");
    desk.at(&["tx", "commit", &desk.tx.to_string(), "--reason", "the bank has it"]).await.succeeds();
    let told = events(&desk, "tx", desk.tx).await;
    let committed = last(&told, "committed");
    assert_eq!((&committed["detail"]["reason"], committed["detail"].get("why")), (&json!("the bank has it"), None));
}

#[tokio::test]
async fn what_lifts_a_dead_message_without_a_person_is_no_resend() {
    let desk = Desk::new().await;
    // Another required consumer lacks it too, so that it is sent again and not consumed.
    let two = format!(
        "insert into avouch.consumer (name, lease_ms, takeover, attempts_max, retry_first_ms, retry_max_ms) \
         values ('shipping', 1, 'rerun', 1, 1, 1); \
         update avouch.outbox set awaiting = awaiting || (select id from avouch.consumer where name = 'shipping') where id = '{}'",
        desk.dead_for_billing
    );
    desk.client.batch_execute(&two).await.expect("is valid");
    let billing: i32 = desk
        .client
        .query_one("select id from avouch.consumer where name = 'billing'", &[])
        .await
        .expect("it is there")
        .get(0);
    let receive = include_str!("../../../runtime/src/store/receive.sql");
    desk.client.execute(receive, &[&vec![desk.dead_for_billing], &billing]).await.expect("is valid");
    let told = events(&desk, "messages", desk.dead_for_billing).await;
    let lifted = last(&told, "sent");
    assert_eq!((&lifted["detail"]["from"], &lifted["actor"]), (&json!("dead"), &Value::Null), "{lifted:#}");
    assert!(!told.iter().any(|event| event["what"] == "resent"), "a late receipt is nobody's deed: {told:#?}");
}
