//! Consumers are what the configuration says, and are waited for until an operator ends that.

use std::time::Duration;

use avouch_tests::wait::until;
use tokio::time::Instant;

use super::{ACK, Followed};
use crate::ground::rounds;
use crate::relayed::LIMIT;

#[tokio::test]
async fn durable_is_corrected_where_the_configuration_has_changed() {
    let mut followed = Followed::start(ACK).await;
    followed.durable("billing").await;
    followed.relayed.avouch.kill();
    let changed = "topics = [\"orders.>\", \"refunds\"]\nmax_ack_pending = 7\n";
    followed.settings = followed.settings.replace("topics = [\"orders.>\"]\n", changed);
    followed.again().await;
    until("the durable is as configured", LIMIT, async || {
        let config = followed.durable("billing").await.cached_info().config.clone();
        (config.max_ack_pending == 7 && config.filter_subjects.len() == 3).then_some(())
    })
    .await;
    let id = followed.relayed.insert("refunds", "1", "{}").await;
    followed.next("billing").await.ack().await.expect("it is sent");
    followed.relayed.in_state(id, "consumed").await;
}

#[tokio::test]
async fn consumer_without_its_section_is_waited_for_until_an_operator_removes_it() {
    let both = format!("{ACK}[consumer.stock]\ntopics = [\"orders.>\"]\n");
    let mut followed = Followed::start(&both).await;
    followed.durable("stock").await;
    let refused = followed.command(&["consumer", "remove", "stock"]).await.fails_with(1);
    refused.says("[consumer.stock] is in the configuration");
    followed.relayed.avouch.kill();
    // Its topics are gone: a rolling change, or a slip.
    followed.settings = followed.settings.replace("[consumer.stock]\ntopics = [\"orders.>\"]\n", "[consumer.stock]\n");
    followed.again().await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(id, "sent").await;
    assert_eq!(followed.awaits(id).await, ["billing", "stock"]);
    followed.next("billing").await.ack().await.expect("it is sent");
    let listed = followed.cli(&["consumer", "list"]).await;
    let of_stock =
        listed.lines().find(|line| line.starts_with("stock ")).unwrap_or_else(|| panic!("no stock in {listed}"));
    assert!(of_stock.contains("by ack") && of_stock.split_whitespace().any(|word| word == "1"), "{listed}");
    let unasked = followed.command(&["consumer", "remove", "stock"]).await.fails_with(2);
    unasked.says("1 messages that stock has not finished").says("--yes");
    let told = followed.cli(&["consumer", "remove", "stock", "--yes", "--reason", "moved away"]).await;
    assert!(told.contains("is not waited for any more") && told.contains("is deleted"), "{told}");
    followed.relayed.in_state(id, "consumed").await;
    followed.command(&["consumer", "remove", "stock"]).await.fails_with(1).says("nothing done");
}

/// For so long as `AVOUCH_TEST_RENEW_SECONDS` says; its delivery is repeated twice a second meanwhile.
#[tokio::test]
async fn holder_that_renews_is_not_ended_by_redeliveries() {
    let inbox = "[consumer.billing]\ntopics = [\"orders.>\"]\nreceipt = \"inbox\"\nack_wait_ms = 500\nlease_ms = 2000\nattempts_max = 2\n";
    let followed = Followed::start(inbox).await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    let first = followed.next("billing").await;
    let begin = format!("select decision, token from avouch.inbox_begin('billing', '{id}', null, null, '{id}')");
    let run = followed.relayed.client.query_one(&begin, &[]).await.expect("is valid");
    let token: i64 = run.get(1);
    let until = Instant::now() + Duration::from_secs(rounds("AVOUCH_TEST_RENEW_SECONDS", 4).into());
    let mut redelivered = 0;
    while Instant::now() < until {
        let message = followed.next("billing").await;
        redelivered = message.info().expect("it has one").delivered;
        let again = followed.relayed.client.query_one(&begin, &[]).await.expect("is valid");
        assert_eq!(again.get::<_, &str>(0), "busy");
        followed.sql(&format!("select avouch.inbox_renew('billing', '{id}', {token})")).await;
    }
    assert!(redelivered > 3, "{redelivered}");
    assert_eq!(followed.state(id).await, "sent");
    followed.sql(&format!("select avouch.inbox_complete('billing', '{id}', {token})")).await;
    followed.relayed.in_state(id, "consumed").await;
    drop(first);
}

#[tokio::test]
async fn server_without_room_for_the_events_is_told_of_with_the_remedy() {
    let mut followed = Followed::of(ACK, "").await;
    followed.relayed.avouch.kill();
    followed.settings =
        followed.settings.replace("events_bytes_max = 16_000_000", "events_bytes_max = 1_000_000_000_000_000");
    followed.again().await;
    followed.relayed.avouch.wait_for_log("receipts.events_bytes_max = 1000000000000000", LIMIT).await;
}
