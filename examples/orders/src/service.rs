//! The order service: what a user of Avouch would write. Plain SQL, no client library, the outbox row beside the business row.

use std::time::Duration;

use anyhow::Context as _;
use avouch_example_stage::connect;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};
use tokio_postgres::{Client, Transaction};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Connections that take orders side by side.
const WORKERS: u32 = 6;
/// Each one's pace: some 300 transactions a second in all, so that a viewer sees movement and not a blur.
const PACE: Duration = Duration::from_millis(18);
/// What a service does between its statements; so there is always something open when it is killed.
const WORK: Duration = Duration::from_millis(6);
/// How long the payment provider thinks. The half message stands in the outbox meanwhile.
const PROVIDER: Duration = Duration::from_millis(200);
/// Then the shop is sold out, after an hour: the demo keeps every message in memory for its books, half a kilobyte each.
pub const ATTEMPTS_MAX: i64 = 1_000_000;

/// What a transaction does is decided by its number, so that each demo has all of it: one in so many, at this remainder.
const ROLLS_BACK: (i64, i64) = (11, 5);
const USES_SAVEPOINT: (i64, i64) = (13, 1);
const HAS_TRACEPARENT: (i64, i64) = (4, 1);
const HAS_BYTES: (i64, i64) = (7, 3);
const HAS_REMINDER: (i64, i64) = (17, 2);
const PAYS_IN_DOUBT: (i64, i64) = (10, 7);
const IS_DECLINED: (i64, i64) = (5, 2);
const DECIDES_LATER: (i64, i64) = (2, 1);
const ASKS_PROVIDER: (i64, i64) = (3, 1);
/// Three of ten transactions bring a new order; the others carry one on.
const NEW_ORDERS_OF_TEN: i64 = 3;

/// Takes orders until `stop`, then ends what it has begun.
pub async fn run(database_url: &str, stop: CancellationToken) -> anyhow::Result<()> {
    let mut workers = JoinSet::new();
    let begin = Instant::now();
    for number in 0..WORKERS {
        let client = connect(database_url).await?;
        // Not all in step.
        let pace = interval_at(begin + PACE * number / WORKERS, PACE);
        workers.spawn(Worker { client }.run(pace, stop.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker broke")??;
    }
    Ok(())
}

/// One connection.
struct Worker {
    client: Client,
}

/// An order whose row this transaction has locked.
struct Order {
    id: i64,
    step: i32,
}

/// A payment that the provider has not answered yet.
struct Payment {
    order: Order,
    tx: Uuid,
    message: Uuid,
}

impl Worker {
    async fn run(mut self, mut pace: Interval, stop: CancellationToken) -> anyhow::Result<()> {
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            pace.tick().await;
            let (attempt, payment) = self.transact().await?;
            if let Some(payment) = payment {
                sleep(PROVIDER).await;
                self.settle(payment).await?;
            }
            if attempt >= ATTEMPTS_MAX {
                stop.cancelled().await;
            }
        }
        Ok(())
    }

    /// One business transaction: rows of the shop and of the outbox, together or not at all.
    async fn transact(&mut self) -> anyhow::Result<(i64, Option<Payment>)> {
        let tx = self.client.transaction().await?;
        let attempt = begin(&tx).await?;
        let order = if attempt % 10 < NEW_ORDERS_OF_TEN { None } else { lock_unfinished(&tx).await? };
        let mut payment = None;
        match order {
            None => create(&tx, attempt).await?,
            Some(order) if order.step == 1 && is(attempt, PAYS_IN_DOUBT) => payment = Some(prepare(&tx, order).await?),
            Some(order) => carry_on(&tx, attempt, &order).await?,
        }
        sleep(WORK).await;
        if is(attempt, ROLLS_BACK) {
            tx.execute("select nextval('shop.rollbacks')", &[]).await?;
            tx.rollback().await?;
            return Ok((attempt, None));
        }
        commit(tx, attempt).await?;
        Ok((attempt, payment))
    }

    /// The provider has answered: the business rows and the verdict on the half message commit together, or shortly after
    /// one another.
    async fn settle(&mut self, payment: Payment) -> anyhow::Result<()> {
        let tx = self.client.transaction().await?;
        let attempt = begin(&tx).await?;
        let Payment { order, tx: in_doubt, message } = payment;
        tx.execute("select from shop.orders where id = $1 for update", &[&order.id]).await?;
        if is(order.id, IS_DECLINED) && is(attempt, (2, 0)) {
            tx.execute("update shop.orders set status = 'created' where id = $1", &[&order.id]).await?;
            tx.execute("select avouch.rollback($1, 'the card was declined')", &[&in_doubt]).await?;
        } else {
            let later = is(order.id, DECIDES_LATER);
            let sql = "update shop.orders set status = 'paid', step = 2, held = $2 where id = $1";
            tx.execute(sql, &[&order.id, &later]).await?;
            remember(&tx, message, &order.id.to_string(), 2, "orders.paid").await?;
            if later {
                // As if the business rows were in another database: the verdict follows, unless the service dies before.
                commit(tx, attempt).await?;
                sleep(PROVIDER).await;
                return self.report(&order, in_doubt).await;
            }
            tx.execute("select avouch.commit($1)", &[&in_doubt]).await?;
        }
        commit(tx, attempt).await
    }
}

impl Worker {
    /// The verdict that follows its business transaction; after it, the order goes on.
    async fn report(&mut self, order: &Order, in_doubt: Uuid) -> anyhow::Result<()> {
        let tx = self.client.transaction().await?;
        tx.execute("select avouch.report($1, 'commit')", &[&in_doubt]).await?;
        tx.execute("update shop.orders set held = false where id = $1", &[&order.id]).await?;
        Ok(tx.commit().await?)
    }
}

fn is(attempt: i64, (one_in, at): (i64, i64)) -> bool {
    attempt % one_in == at
}

/// The transaction's number.
async fn begin(tx: &Transaction<'_>) -> anyhow::Result<i64> {
    Ok(tx.query_one("select nextval('shop.attempts')", &[]).await?.get(0))
}

async fn commit(tx: Transaction<'_>, attempt: i64) -> anyhow::Result<()> {
    tx.execute("insert into shop.transactions (attempt) values ($1)", &[&attempt]).await?;
    tx.commit().await.context("committing; whether it happened is unknown, so the service ends")
}

/// The lock on the order's row makes all that happens to this order happen one after another.
async fn lock_unfinished(tx: &Transaction<'_>) -> anyhow::Result<Option<Order>> {
    let sql = "select id, step from shop.orders where status in ('created', 'paid') and not held
               order by id limit 1 for update skip locked";
    let row = tx.query_opt(sql, &[]).await?;
    Ok(row.map(|r| Order { id: r.get(0), step: r.get(1) }))
}

async fn create(tx: &Transaction<'_>, attempt: i64) -> anyhow::Result<()> {
    let id: i64 = tx.query_one("insert into shop.orders default values returning id", &[]).await?.get(0);
    publish(tx, attempt, "orders.created", &id.to_string(), 1).await?;
    if is(attempt, HAS_REMINDER) {
        let key = format!("reminder-{id}");
        let sql = "insert into avouch.outbox (topic, key, payload, not_before)
                   values ('orders.reminder', $1, jsonb_build_object('order', $1::text, 'step', 1), now() + interval '2 seconds')
                   returning id";
        let message: Uuid = tx.query_one(sql, &[&key]).await?.get(0);
        remember(tx, message, &key, 1, "orders.reminder").await?;
    }
    Ok(())
}

/// created → paid → shipped.
async fn carry_on(tx: &Transaction<'_>, attempt: i64, order: &Order) -> anyhow::Result<()> {
    let (step, status) = if order.step == 1 { (2, "paid") } else { (3, "shipped") };
    tx.execute("update shop.orders set status = $2, step = $3 where id = $1", &[&order.id, &status, &step]).await?;
    let key = order.id.to_string();
    if is(attempt, USES_SAVEPOINT) {
        tx.batch_execute("savepoint first_try").await?;
        let sql = "insert into avouch.outbox (topic, key, payload) values ('orders.mistake', $1, '{}')";
        tx.execute(sql, &[&key]).await?;
        tx.batch_execute("rollback to savepoint first_try").await?;
    }
    publish(tx, attempt, &format!("orders.{status}"), &key, step).await
}

/// The heart of it: a row in the outbox, in the transaction of the business rows.
async fn publish(tx: &Transaction<'_>, attempt: i64, topic: &str, key: &str, step: i32) -> anyhow::Result<()> {
    let body = body(key, step).to_string();
    let (text, bytes) = if is(attempt, HAS_BYTES) { (None, Some(body.as_bytes())) } else { (Some(&body), None) };
    let headers: Option<Value> = is(attempt, HAS_TRACEPARENT).then(|| {
        let (trace, span) = (Uuid::now_v7().simple(), attempt);
        json!({ "traceparent": format!("00-{trace}-{span:016x}-01") })
    });
    let sql = "insert into avouch.outbox (topic, key, payload, payload_bytes, headers)
               values ($1, $2, $3, $4, $5) returning id";
    let message: Uuid = tx.query_one(sql, &[&topic, &key, &text, &bytes, &headers]).await?.get(0);
    remember(tx, message, key, step, topic).await
}

/// A half message: it is committed before the business action and published only after it.
async fn prepare(tx: &Transaction<'_>, order: Order) -> anyhow::Result<Payment> {
    let key = order.id.to_string();
    tx.execute("update shop.orders set status = 'paying' where id = $1", &[&order.id]).await?;
    // Two ways to find out later: the shop's own row, or the payment provider over HTTP.
    let checker = if is(order.id, ASKS_PROVIDER) { "payment-http-check" } else { "order-check" };
    let sql = "select avouch.prepare($1, '2 seconds', $2)";
    let in_doubt: Uuid = tx.query_one(sql, &[&checker, &key]).await?.get(0);
    let sql = "insert into avouch.outbox (tx_id, topic, key, payload) values ($1, 'orders.paid', $2, $3) returning id";
    let message: Uuid = tx.query_one(sql, &[&in_doubt, &key, &body(&key, 2).to_string()]).await?.get(0);
    Ok(Payment { order, tx: in_doubt, message })
}

fn body(key: &str, step: i32) -> Value {
    json!({ "order": key, "step": step })
}

/// For the demo's books only: the shop's own word on what must be published.
async fn remember(tx: &Transaction<'_>, message: Uuid, key: &str, step: i32, topic: &str) -> anyhow::Result<()> {
    let sql = "insert into shop.history (message_id, key, step, topic) values ($1, $2, $3, $4)";
    tx.execute(sql, &[&message, &key, &step, &topic]).await?;
    Ok(())
}
