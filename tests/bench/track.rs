//! `track_*`: what following messages to their consumers costs: produced, relayed, consumed and acknowledged, with receipts and without.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use avouch_tests::wait::until;
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use crate::load::insert_rate;
use crate::report::Report;
use crate::stage::Stage;

/// What one run has cost.
struct Run {
    rate: f64,
    wal_bytes: f64,
    transactions: f64,
}

/// `track_ratio`, `track_wal_bytes`, `track_statements`.
pub async fn track(report: &mut Report, time: Duration, pairs: usize) -> anyhow::Result<()> {
    let [mut ratio, mut rate, mut wal, mut statements] = [const { Vec::new() }; 4];
    for _ in 0..pairs {
        let without = run(time, false).await?;
        let with = run(time, true).await?;
        ratio.push(with.rate / without.rate);
        rate.push(with.rate);
        wal.push(with.wal_bytes - without.wal_bytes);
        statements.push(with.transactions - without.transactions);
    }
    report.median(
        "track_rows_per_s",
        &rate,
        "rows/s inserted by 32 clients, relayed, acknowledged, and consumed in the books",
    );
    report.median("track_ratio", &ratio, "over the same without receipts, bar 0.75");
    report.median("track_wal_bytes", &wal, "write-ahead log of receipts, bytes a message");
    report.median("track_statements", &statements, "transactions of receipts, a message");
    Ok(())
}

async fn run(time: Duration, is_required: bool) -> anyhow::Result<Run> {
    let stage = Stage::set().await;
    let consumer =
        format!("[consumer.bench]\ntopics = [\"orders.>\"]\nrequired = {is_required}\nmax_ack_pending = 10000\n");
    let mut avouch = stage.runtime_with(&consumer).await;
    let acked = Arc::new(AtomicI64::new(0));
    let consuming = consume(&stage, Arc::clone(&acked)).await?;
    let (wal, transactions, began) = (stage.wal().await?, transactions_of(&stage).await?, Instant::now());
    insert_rate(&stage, "", time).await?;
    let rows: i64 = stage.client.query_one("select count(*) from avouch.outbox", &[]).await?.get(0);
    until("all is done", Duration::from_secs(300), async || {
        let left =
            "select count(*) from (select from avouch.outbox where state = 'ready' or awaiting is not null limit 1) x";
        let is_done = acked.load(Ordering::Relaxed) >= rows
            && (!is_required || stage.client.query_one(left, &[]).await.ok()?.get::<_, i64>(0) == 0);
        is_done.then_some(())
    })
    .await;
    let took = began.elapsed().as_secs_f64();
    // The last commits report themselves within a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let per_message = |before: f64, after: f64| (after - before) / rows as f64;
    let run = Run {
        rate: rows as f64 / took,
        wal_bytes: per_message(wal, stage.wal().await?),
        transactions: per_message(transactions, transactions_of(&stage).await?),
    };
    consuming.abort();
    avouch.terminate(Duration::from_secs(10)).await;
    Ok(run)
}

/// Acknowledges whatever comes, each message by itself.
async fn consume(stage: &Stage, acked: Arc<AtomicI64>) -> anyhow::Result<JoinHandle<()>> {
    let jetstream = async_nats::jetstream::new(async_nats::connect(stage.nats.url()).await?);
    let durable: PullConsumer = until("the durable is made", Duration::from_secs(30), async || {
        jetstream.get_stream("AVOUCH").await.ok()?.get_consumer("bench").await.ok()
    })
    .await;
    let mut messages = durable.stream().max_messages_per_batch(1_000).messages().await?;
    Ok(tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            message.ack().await.expect("the server runs");
            acked.fetch_add(1, Ordering::Relaxed);
        }
    }))
}

async fn transactions_of(stage: &Stage) -> anyhow::Result<f64> {
    let sql = "select (xact_commit + xact_rollback)::float8 from pg_stat_database where datname = current_database()";
    Ok(stage.client.query_one(sql, &[]).await?.get(0))
}
