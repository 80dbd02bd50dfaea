//! From before an insert is sent to the subscriber's receipt, at 500 inserts a second; beside bare loops of insert, notify
//! with the payload, and publish: one into a twin of the outbox without its triggers (what the doorbell, the read and the
//! mark add), one into a table of two columns (what everything adds).

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_tests::wait::until;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::report::Report;
use crate::stage::Stage;

const PER_S: u64 = 500;
const CONNECTIONS: u64 = 8;
const TWIN: &str = "with row as (insert into twin (topic, key, payload) values ('bare', $1, $2) returning payload) \
                    select pg_notify('bare', payload) from row";
const NARROW: &str = "with row as (insert into narrow (payload) select $2 where $1::text is not null returning payload) \
                      select pg_notify('bare', payload) from row";

/// `latency_*` and `latency_mixed_*`.
pub async fn latency(report: &mut Report, time: Duration, rounds: usize) -> anyhow::Result<()> {
    let stage = Stage::set().await;
    stage
        .client
        .batch_execute(
            "create table twin (like avouch.outbox including all); \
             create table narrow (id bigint generated always as identity, payload text)",
        )
        .await?;
    let mut avouch = stage.runtime().await;
    let [mut p50, mut p99, mut bare50, mut bare99, mut ratio, mut mixed50, mut mixed99] = [const { Vec::new() }; 7];
    let [mut narrow50, mut narrow_ratio] = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        let bare = measure_bare(&stage, time, TWIN).await?;
        let narrow = measure_bare(&stage, time, NARROW).await?;
        let ours = measure(&stage, time).await?;
        let mixed = {
            let _others = Others::begin(&stage).await?;
            measure(&stage, time).await?
        };
        ratio.push(percentile(&ours, 50) / percentile(&bare, 50));
        narrow_ratio.push(percentile(&ours, 50) / percentile(&narrow, 50));
        narrow50.push(percentile(&narrow, 50));
        bare50.push(percentile(&bare, 50));
        bare99.push(percentile(&bare, 99));
        p50.push(percentile(&ours, 50));
        p99.push(percentile(&ours, 99));
        mixed50.push(percentile(&mixed, 50));
        mixed99.push(percentile(&mixed, 99));
    }
    avouch.terminate(Duration::from_secs(10)).await;
    report.median("latency_p50_us", &p50, "insert sent → received, 500/s");
    report.median("latency_p99_us", &p99, "insert sent → received, 500/s");
    report.median("latency_bare_p50_us", &bare50, "bare insert into a twin table + notify + publish");
    report.median("latency_bare_p99_us", &bare99, "bare insert into a twin table + notify + publish");
    report.median("latency_p50_ratio", &ratio, "over the bare loop, bar 1.5");
    report.median("latency_narrow_p50_us", &narrow50, "the bare loop with a table of two columns, no index");
    report.median("latency_narrow_ratio", &narrow_ratio, "over that one");
    report.median("latency_mixed_p50_us", &mixed50, "beside an idle and eight slow transactions");
    report.median("latency_mixed_p99_us", &mixed99, "beside an idle and eight slow transactions");
    Ok(())
}

async fn measure(stage: &Stage, time: Duration) -> anyhow::Result<Vec<f64>> {
    let subscriber = async_nats::connect(stage.nats.url()).await?.subscribe("msg.latency").await?;
    let sql = "insert into avouch.outbox (topic, key, payload) values ('latency', $1, $2)";
    run(stage, time, subscriber, Arc::from(sql)).await
}

/// The same with a table, a NOTIFY that carries the payload, and a loop that publishes what it hears.
async fn measure_bare(stage: &Stage, time: Duration, sql: &str) -> anyhow::Result<Vec<f64>> {
    let client = async_nats::connect(stage.nats.url()).await?;
    let subscriber = client.subscribe("msg.bare").await?;
    let (listener, mut connection) = tokio_postgres::connect(stage.database.url(), NoTls).await?;
    let context = async_nats::jetstream::new(client);
    let publisher = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(n) = message {
                let ack = context.publish("msg.bare", n.payload().to_owned().into()).await;
                tokio::spawn(async move { ack.expect("the broker runs").await });
            }
        }
    });
    listener.batch_execute("listen bare").await?;
    let result = run(stage, time, subscriber, Arc::from(sql)).await;
    publisher.abort();
    result
}

/// Inserts on schedule from several connections; each payload carries when its insert was about to be sent.
async fn run(
    stage: &Stage,
    time: Duration,
    mut subscriber: async_nats::Subscriber,
    sql: Arc<str>,
) -> anyhow::Result<Vec<f64>> {
    let epoch = Instant::now();
    let total = usize::try_from(time.as_secs() * PER_S / CONNECTIONS * CONNECTIONS)?;
    let (done, mut results) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut latencies = Vec::with_capacity(total);
        while latencies.len() < total {
            let Some(message) = subscriber.next().await else { break };
            let received = epoch.elapsed();
            let sent_ns: u64 =
                std::str::from_utf8(&message.payload).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
            latencies.push((received - Duration::from_nanos(sent_ns)).as_secs_f64() * 1e6);
        }
        done.send(latencies).await.ok();
    });
    let mut producers = JoinSet::new();
    for producer in 0..CONNECTIONS {
        let (client, sql) = (stage.database.client().await, Arc::clone(&sql));
        producers.spawn(async move { produce(client, &sql, producer, epoch, time).await });
    }
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    let latencies =
        until("every message to be received", Duration::from_secs(30), async || results.try_recv().ok()).await;
    Ok(latencies)
}

async fn produce(client: Client, sql: &str, producer: u64, epoch: Instant, time: Duration) -> anyhow::Result<()> {
    let statement = client.prepare(sql).await?;
    let every = Duration::from_micros(1_000_000 * CONNECTIONS / PER_S);
    let start = epoch + every * u32::try_from(producer)? / u32::try_from(CONNECTIONS)?;
    for n in 0..time.as_secs() * PER_S / CONNECTIONS {
        tokio::time::sleep_until((start + every * u32::try_from(n)?).into()).await;
        let key = (n * CONNECTIONS + producer).to_string();
        let sent = format!("{:<200}", epoch.elapsed().as_nanos());
        client.query(&statement, &[&key, &sent]).await?;
    }
    Ok(())
}

/// One producer that inserted and went idle, and eight that commit 100 ms after their insert, again and again.
struct Others {
    tasks: JoinSet<()>,
    _idle: Client,
}

impl Others {
    async fn begin(stage: &Stage) -> anyhow::Result<Self> {
        let insert = "insert into avouch.outbox (topic, key, payload) values ('slow', gen_random_uuid()::text, 'x')";
        let idle = stage.database.client().await;
        idle.batch_execute(&format!("begin; {insert}")).await?;
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let client = stage.database.client().await;
            tasks.spawn(async move {
                loop {
                    let slow = format!("begin; {insert}; select pg_sleep(0.1); commit");
                    client.batch_execute(&slow).await.expect("the server runs");
                }
            });
        }
        Ok(Self { tasks, _idle: idle })
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
