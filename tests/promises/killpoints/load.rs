//! A load that comes to every point: plain messages, half messages, some that are refused, lost or not wanted, and consumers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Context, Message};
use avouch_runtime::killpoint::Point;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::checkback::Shop;

const PLAIN: u64 = 60;
const KEYS: u64 = 6;
/// Transactions that their producers decide; one in three rolls back.
const DECIDED: u64 = 6;
/// Transactions that are left to their checker; one in three rolls back.
const IN_DOUBT: u64 = 12;
/// Over the broker's `max_payload`.
const HUGE: u64 = 3;
/// Removed from the stream before their consumer has them.
const LOST: u64 = 12;
/// Terminated by their consumer.
const DOOMED: u64 = 6;
/// Each transaction holds two messages, one for each outcome.
const SENT: u64 = PLAIN + DECIDED + IN_DOUBT + LOST + DOOMED;

/// How often a load comes to this point, at least.
pub fn times(point: Point) -> u64 {
    match point {
        Point::Acquired => 1,
        Point::Claimed => SENT + HUGE,
        Point::Decided | Point::Committed => IN_DOUBT,
        Point::BytesSent | Point::AckReceived | Point::Marked | Point::ReceiptSeen => SENT,
        Point::Buried => HUGE,
        Point::ReceiptRecorded => SENT - DOOMED,
        Point::GivenUp => DOOMED,
        Point::ResendDecided | Point::ResendRecorded | Point::ResendSent | Point::ResendMarked => LOST,
        Point::NoticeRecorded | Point::NoticeTried | Point::NoticeMarked => 0,
    }
}

/// `shop.orders` says what really happened: it is committed with the producers' own decisions.
pub async fn insert(shop: &Shop) {
    let sql = format!(
        "insert into avouch.outbox (topic, key, payload) \
           select 'orders.plain', 'k' || n % {KEYS}, n::text from generate_series(1, {PLAIN}) n order by n; \
         insert into avouch.outbox (topic, key, payload) \
           select 'lost.made', 'lost' || n % 3, n::text from generate_series(1, {LOST}) n order by n; \
         insert into avouch.outbox (topic, key, payload) \
           select 'doomed.made', 'k' || n % {KEYS}, n::text from generate_series(1, {DOOMED}) n order by n; \
         insert into avouch.outbox (topic, key, payload) \
           select 'huge', gen_random_uuid()::text, repeat('x', 1200000) from generate_series(1, {HUGE}); \
         create sequence if not exists shop.numbers; \
         do $$ declare t uuid; n bigint; begin for i in 1..{all} loop \
           n := nextval('shop.numbers'); \
           t := avouch.prepare('order-check', case when i <= {DECIDED} then interval '1 hour' else interval '0 s' end, n::text); \
           insert into avouch.outbox (tx_id, topic, key, payload) \
             values (t, 'orders.created', 'k' || i % {KEYS}, format('{{\"id\":%s}}', n)); \
           insert into avouch.outbox (tx_id, topic, key, payload, release_on) \
             values (t, 'orders.refused', 'k' || i % {KEYS}, '{{}}', 'rollback'); \
           if i % 3 > 0 then insert into shop.orders values (n, 'placed'); end if; \
           if i <= {DECIDED} then \
             if i % 3 > 0 then perform avouch.commit(t); else perform avouch.rollback(t, 'declined'); end if; \
           end if; \
         end loop; end $$",
        all = DECIDED + IN_DOUBT,
    );
    shop.ground.client.batch_execute(&sql).await.expect("the load is valid");
}

/// Both consumers, as long as this lives.
pub struct Consumers {
    acked: Arc<Mutex<HashSet<Uuid>>>,
    _tasks: JoinSet<()>,
}

impl Consumers {
    pub fn start(shop: &Shop) -> Self {
        let acked = Arc::<Mutex<HashSet<Uuid>>>::default();
        let mut tasks = JoinSet::new();
        for name in ["billing", "stock"] {
            let (stream, books) = (shop.ground.names.stream.clone(), Arc::clone(&acked));
            tasks.spawn(consume(shop.ground.jetstream.clone(), stream, name, books));
        }
        Self { acked, _tasks: tasks }
    }

    /// What they have acknowledged.
    pub fn acked(&self) -> HashSet<Uuid> {
        self.acked.lock().expect("nobody panics with it").clone()
    }
}

async fn consume(jetstream: Context, stream: String, name: &'static str, acked: Arc<Mutex<HashSet<Uuid>>>) {
    loop {
        // The runtime makes it, which has not been started yet.
        let found: Result<PullConsumer, _> = jetstream.get_consumer_from_stream(name, &stream).await;
        let Ok(durable) = found else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let batch = durable.batch().max_messages(50).expires(Duration::from_millis(500)).messages().await;
        let Ok(mut batch) = batch else { continue };
        while let Some(Ok(message)) = batch.next().await {
            act(&jetstream, &stream, message, &acked).await;
        }
    }
}

/// What fails here is delivered again.
async fn act(jetstream: &Context, stream: &str, message: Message, acked: &Mutex<HashSet<Uuid>>) {
    let header = |name: &str| {
        let headers = message.headers.as_ref().expect("every message of ours has some");
        headers.get(name).expect("every message of ours has it").to_string()
    };
    let is_first = header("Avouch-Generation") == "0";
    match header("Avouch-Topic").as_str() {
        "doomed.made" => drop(message.ack_with(AckKind::Term).await),
        "lost.made" if is_first => {
            let place = message.info().expect("it came from a consumer").stream_sequence;
            if let Ok(stream) = jetstream.get_stream_no_info(stream).await {
                drop(stream.delete_message(place).await);
            }
        }
        _ => {
            // Remembered before it is said.
            let id = header("Avouch-Id").parse().expect("it is a UUID");
            acked.lock().expect("nobody panics with it").insert(id);
            drop(message.ack().await);
        }
    }
}
