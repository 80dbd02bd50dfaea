//! What has ended is retired: tables do not grow with the messages that went through.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::Followed;
use crate::ground::rounds;

const CONSUMER: &str = "[consumer.billing]\ntopics = [\"orders.>\"]\nreceipt = \"inbox\"\nmax_ack_pending = 5000\n";
/// Messages of one round, at least.
const ROUND: u32 = 10_000;
/// Rounds of a long run.
const ROUNDS: u32 = 50;

/// Records each message in the inbox, many at once, and acknowledges it.
fn consume(durable: PullConsumer, client: tokio_postgres::Client) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let batch = durable.batch().max_messages(1_000).expires(Duration::from_millis(200)).messages().await;
            let Ok(batch) = batch else { continue };
            let messages: Vec<_> = batch.filter_map(|m| async { m.ok() }).collect().await;
            let id = |m: &async_nats::jetstream::Message| {
                m.headers.as_ref().and_then(|h| h.get("Avouch-Id")).map(ToString::to_string)
            };
            let ids: Vec<String> = messages.iter().filter_map(id).collect();
            let once = "select avouch.inbox_once('billing', id::uuid) from unnest($1::text[]) id";
            client.execute(once, &[&ids]).await.expect("the server runs");
            for message in messages {
                message.ack().await.expect("the server runs");
            }
        }
    })
}

#[tokio::test]
async fn tables_return_to_their_size_however_many_messages_went_through() {
    let settings = format!("{CONSUMER}[inbox]\nkeep_hours = 2\n");
    let followed = Followed::stream_of_an_hour(&settings).await;
    let durable = followed.durable("billing").await;
    let consuming = consume(durable, followed.relayed.database.client().await);
    let messages = rounds("AVOUCH_TEST_MESSAGES", 60_000);
    let round = messages.div_ceil(ROUNDS).max(ROUND);
    let (mut sizes, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..messages.div_ceil(round).max(4) {
        let began = Instant::now();
        // As old as what is kept for an hour and was inserted two hours ago: an id tells its age.
        let sql = "insert into avouch.outbox (id, topic, key, payload) \
                   select (lpad(to_hex(((extract(epoch from now()) - 7200) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) \
                           || '8' || substr(md5(random()::text || n), 1, 15))::uuid, 'orders.created', (n % 500)::text, repeat('x', 200) \
                   from generate_series(1, $1) n";
        followed.relayed.client.execute(sql, &[&i32::try_from(round).expect("is small")]).await.expect("is valid");
        until("the messages are consumed and retired", secs(600), async || {
            let left = "select from avouch.outbox limit 1";
            followed.relayed.client.query_opt(left, &[]).await.expect("the server runs").is_none().then_some(())
        })
        .await;
        rates.push(f64::from(round) / began.elapsed().as_secs_f64());
        // Records are kept for two hours; these are made older, which is all that a test can do about time.
        followed.sql("update avouch.inbox set changed_at = changed_at - interval '3 hours'").await;
        until("the records are retired", secs(600), async || {
            followed
                .relayed
                .client
                .query_opt("select from avouch.inbox limit 1", &[])
                .await
                .expect("the server runs")
                .is_none()
                .then_some(())
        })
        .await;
        followed.sql("vacuum avouch.outbox, avouch.inbox, avouch.dedup, avouch.receipt, avouch.recovery").await;
        let size = "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                    where n.nspname = 'avouch' and c.relkind = 'r'";
        sizes.push(followed.relayed.client.query_one(size, &[]).await.expect("is valid").get::<_, i64>(0));
    }
    consuming.abort();
    // The first rounds find their room.
    let (early, last) = (sizes[1].max(sizes[2]), sizes[sizes.len() - 1]);
    println!("sizes after each round of {round}: {sizes:?}; messages a second in each: {rates:.0?}");
    assert!(last <= early + early / 2, "{sizes:?}");
}
