//! `gate_*`: pairs of begin and complete over NATS, from callers that wait for each answer; beside a plain service that runs one
//! statement a call, with the same SQL functions and a connection for every fourth caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap};
use avouch_tests::wait::until;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::report::Report;
use crate::stage::Stage;

const CALLERS: usize = 64;
const NAIVE_CONNECTIONS: usize = 16;

/// `gate_rate`, `gate_p50_us`, `gate_p99_us`, `gate_naive_rate`, `gate_ratio`; `gate_kv_rate`, `gate_kv_p50_us`, `gate_kv_p99_us`.
pub async fn gate(report: &mut Report, time: Duration, rounds: usize) -> anyhow::Result<()> {
    in_table(report, time, rounds).await?;
    in_bucket(report, time, rounds).await
}

async fn in_table(report: &mut Report, time: Duration, rounds: usize) -> anyhow::Result<()> {
    let stage = Stage::set().await;
    let mut avouch = stage.runtime_with("[consumer.bench]\n").await;
    let naive = Naive::start(&stage).await?;
    let [mut rate, mut naive_rate, mut ratio, mut p50, mut p99] = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        let plain = measure(&stage, "naive", time).await?;
        let ours = measure(&stage, "avouch", time).await?;
        ratio.push(ours.rate / plain.rate);
        naive_rate.push(plain.rate);
        rate.push(ours.rate);
        p50.push(ours.p50_us);
        p99.push(ours.p99_us);
    }
    drop(naive);
    avouch.terminate(Duration::from_secs(10)).await;
    report.median("gate_rate", &rate, "pairs of begin and complete a second, 64 callers, bar 6000");
    report.median("gate_p50_us", &p50, "one pair");
    report.median("gate_p99_us", &p99, "one pair");
    report.median("gate_naive_rate", &naive_rate, "pairs a second with one statement a call, 16 connections");
    report.median("gate_ratio", &ratio, "over that, bar 2");
    Ok(())
}

/// Records in a bucket, whose server has the default durability: it does not wait for the disk.
async fn in_bucket(report: &mut Report, time: Duration, rounds: usize) -> anyhow::Result<()> {
    let stage = Stage::set().await;
    let mut avouch = stage.runtime_with("[consumer.bench]\n[inbox]\nstore = \"kv\"\n").await;
    let nats = async_nats::connect(stage.nats.url()).await?;
    until("the gate to answer", Duration::from_secs(10), async || {
        nats.request("$SRV.PING.avouch-inbox", "".into()).await.ok()
    })
    .await;
    let [mut rate, mut p50, mut p99] = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        let ours = measure(&stage, "avouch", time).await?;
        rate.push(ours.rate);
        p50.push(ours.p50_us);
        p99.push(ours.p99_us);
    }
    avouch.terminate(Duration::from_secs(10)).await;
    report.median("gate_kv_rate", &rate, "pairs a second with records in a key-value bucket");
    report.median("gate_kv_p50_us", &p50, "one pair");
    report.median("gate_kv_p99_us", &p99, "one pair");
    Ok(())
}

struct Measured {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
}

async fn measure(stage: &Stage, prefix: &'static str, time: Duration) -> anyhow::Result<Measured> {
    let mut callers = JoinSet::new();
    let until = Instant::now() + time;
    for _ in 0..CALLERS / 8 {
        let client = async_nats::connect(stage.nats.url()).await?;
        for _ in 0..8 {
            let client = client.clone();
            callers.spawn(async move { call(&client, prefix, until).await });
        }
    }
    let mut pairs = Vec::new();
    while let Some(ended) = callers.join_next().await {
        pairs.extend(ended??);
    }
    pairs.sort_by(f64::total_cmp);
    let at = |percent: usize| pairs.get(pairs.len() * percent / 100).copied().unwrap_or(f64::NAN);
    let count = u32::try_from(pairs.len())?;
    Ok(Measured { rate: f64::from(count) / time.as_secs_f64(), p50_us: at(50), p99_us: at(99) })
}

/// Begins and completes until the time is over; how long each pair took, in microseconds.
async fn call(client: &Client, prefix: &str, until: Instant) -> anyhow::Result<Vec<f64>> {
    let mut pairs = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert("Avouch-Id", Uuid::now_v7().to_string().as_str());
        let subject = format!("{prefix}.v1.inbox.begin.bench");
        let begun = client.request_with_headers(subject, headers, vec![b'x'; 200].into()).await?;
        let begun: Value = serde_json::from_slice(&begun.payload)?;
        anyhow::ensure!(begun["decision"] == "run", "{begun}");
        let word = json!({ "key": begun["key"], "token": begun["token"], "result": { "n": 1 } });
        let done = client.request(format!("{prefix}.v1.inbox.complete.bench"), word.to_string().into()).await?;
        anyhow::ensure!(done.payload.starts_with(b"{\"decision\":\"done\""), "{done:?}");
        pairs.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(pairs)
}

/// The plain service.
struct Naive(JoinSet<()>);

impl Naive {
    async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let nats = async_nats::connect(stage.nats.url()).await?;
        let mut requests = nats.subscribe("naive.v1.inbox.*.bench").await?;
        let mut connections = Vec::new();
        for _ in 0..NAIVE_CONNECTIONS {
            let client = stage.database.client().await;
            let begin = client.prepare("select decision, token from avouch.inbox_begin('bench', $1, 'f')").await?;
            let complete = client.prepare("select avouch.inbox_complete('bench', $1, $2, '{}')").await?;
            connections.push(Arc::new((client, begin, complete)));
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut at = 0;
            while let Some(request) = requests.next().await {
                at = (at + 1) % connections.len();
                let (nats, connection) = (nats.clone(), Arc::clone(&connections[at]));
                tokio::spawn(async move {
                    let (client, begin, complete) = &*connection;
                    let answer = if let Some(headers) = &request.headers {
                        let key = headers.get("Avouch-Id").map(ToString::to_string).unwrap_or_default();
                        let row = client.query_one(begin, &[&key]).await.expect("the server runs");
                        let (decision, token): (String, i64) = (row.get(0), row.get(1));
                        json!({ "decision": decision, "key": key, "token": token })
                    } else {
                        let word: Value = serde_json::from_slice(&request.payload).expect("ours is JSON");
                        let (key, token) = (word["key"].as_str().unwrap_or_default(), word["token"].as_i64());
                        client.query_one(complete, &[&key, &token]).await.expect("the server runs");
                        json!({ "decision": "done" })
                    };
                    if let Some(reply) = request.reply {
                        nats.publish(reply, answer.to_string().into()).await.ok();
                    }
                });
            }
        });
        Ok(Self(tasks))
    }
}

impl Drop for Naive {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}
