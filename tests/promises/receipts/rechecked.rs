//! Before it is sent again, a message is asked about where its topic wants that.

use avouch_tests::wait::until;
use uuid::Uuid;

use crate::checkback::{FENCED, Shop};
use crate::relayed::LIMIT;

#[tokio::test]
async fn message_that_never_happened_is_discarded_instead_of_being_sent_again() {
    let events = Uuid::now_v7().simple();
    let shop = Shop::new(&format!(
        "{FENCED}[topic.\"orders.created\"]\nrecheck_before_resend = true\n[consumer.billing]\ntopics = [\"orders.>\"]\ndeadline_ms = 300\n\
         [receipts]\nevery_ms = 100\nevents_stream = \"EVENTS_{events}\"\nevents_bytes_max = 16_000_000\n[recovery]\nevery_ms = 50\n"
    ))
    .await;
    shop.deploy().await;
    let _avouch = shop.runtime().await;
    let ground = &shop.ground;
    // Two transactions that their producer commits; the order of the first is there, that of the second has vanished.
    let sql = "insert into shop.orders values (1, 'placed'); \
               do $$ declare t uuid; begin for n in 1..2 loop t := avouch.prepare('order-check', '1 h', n::text); \
               insert into avouch.outbox (tx_id, topic, key, payload) values (t, 'orders.created', n::text, '{}'); \
               perform avouch.commit(t); end loop; end $$";
    ground.client.batch_execute(sql).await.expect("is valid");
    let count = async |sql: &str| ground.client.query_one(sql, &[]).await.expect("is valid").get::<_, i64>(0);
    until("both are sent", LIMIT, async || {
        (count("select count(*) from avouch.outbox where awaiting is not null").await == 2).then_some(())
    })
    .await;
    let stream = ground.jetstream.get_stream(&ground.names.stream).await.expect("it was made");
    stream.purge().await.expect("is allowed");
    until("the first is sent again, and the second discarded", LIMIT, async || {
        let sent = count("select count(*) from avouch.recovery r join avouch.outbox o on o.id = r.message_id where r.state = 'sent' and o.key = '1'");
        let discarded = count("select count(*) from avouch.outbox where key = '2' and state = 'discarded' and reason like '%rollback%'");
        (sent.await == 1 && discarded.await == 1).then_some(())
    })
    .await;
    assert_eq!(count("select count(*) from avouch.audit where action = 'discard'").await, 1);
}
