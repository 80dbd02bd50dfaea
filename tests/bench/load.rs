//! What the doorbell costs producers, and what rate can be produced and relayed for long; with pgbench's 32 clients.

use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use crate::report::{Report, median};
use crate::stage::Stage;

const CLIENTS: &str = "32";

/// `producer_cost_ratio`: inserts a second with the doorbell over those with its trigger disabled, pair by pair.
pub async fn producer_cost(report: &mut Report, time: Duration, pairs: usize) -> anyhow::Result<()> {
    let stage = Stage::set().await;
    let mut avouch = stage.runtime().await;
    let (mut ratios, mut with, mut notify) = (Vec::new(), Vec::new(), Vec::new());
    // The relay must not compete for the two cores, or be idle in one half and busy in the other: it only holds no K.
    avouch.terminate(Duration::from_secs(10)).await;
    for _ in 0..pairs {
        let on = insert_rate(&stage, "", time).await?;
        stage.client.batch_execute("alter table avouch.outbox disable trigger doorbell").await?;
        let off = insert_rate(&stage, "", time).await?;
        let each = insert_rate(&stage, "notify avouch_bench;", time).await?;
        stage.client.batch_execute("alter table avouch.outbox enable always trigger doorbell").await?;
        ratios.push(on / off);
        notify.push(each / off);
        with.push(on);
        stage.clear().await?;
    }
    report.median("producer_inserts_per_s", &with, "inserts/s with the doorbell, 32 clients");
    report.median("producer_cost_ratio", &ratios, "with the doorbell / trigger disabled, bar 0.85");
    report.median("producer_notify_ratio", &notify, "a NOTIFY in each transaction / trigger disabled");
    Ok(())
}

/// `e2e_ratio`: the rate that is produced and relayed with lag not growing, over the insert-only rate.
pub async fn end_to_end(report: &mut Report, time: Duration, pairs: usize) -> anyhow::Result<()> {
    let stage = Stage::set().await;
    let (mut ratios, mut relayed, mut lags) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let alone = insert_rate(&stage, "", time).await?;
        stage.clear().await?;
        let mut avouch = stage.runtime().await;
        let both = insert_rate(&stage, "", time).await?;
        let waiting = stage.waiting().await as f64;
        stage.drained().await;
        avouch.terminate(Duration::from_secs(10)).await;
        // What still waits at the end was not relayed in time.
        let rate = both - waiting / time.as_secs_f64();
        ratios.push(rate / alone);
        relayed.push(rate);
        lags.push(waiting);
        stage.clear().await?;
    }
    report.median("e2e_rows_per_s", &relayed, "rows/s produced and relayed, 32 clients");
    report.median("e2e_lag_rows", &lags, "rows waiting when the producers stopped");
    report.add("e2e_lag_s", median(&lags) / median(&relayed), "seconds of lag at that moment".into());
    report.median("e2e_ratio", &ratios, "over the insert-only rate, bar 0.65");
    Ok(())
}

/// Inserts for this time with 32 clients; how many a second.
pub async fn insert_rate(stage: &Stage, extra: &str, time: Duration) -> anyhow::Result<f64> {
    let insert =
        "insert into avouch.outbox (topic, key, payload) values ('orders.created', :k::text, repeat('x', 200));";
    let script = if extra.is_empty() {
        format!("\\set k random(1, 100000)\n{insert}\n")
    } else {
        format!("\\set k random(1, 100000)\nbegin;\n{insert}\n{extra}\ncommit;\n")
    };
    let file = std::env::temp_dir().join(format!("avouch-bench-{}.sql", std::process::id()));
    std::fs::write(&file, script)?;
    let output = Command::new(pgbench()?)
        .args(["-n", "-M", "prepared", "-c", CLIENTS, "-j", "1", "-T", &time.as_secs().to_string(), "-f"])
        .arg(&file)
        .arg(stage.database.url())
        .output()
        .await
        .context("pgbench cannot be started: run `make setup`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tps = text.lines().find_map(|l| l.strip_prefix("tps = ")).and_then(|l| l.split(' ').next());
    tps.and_then(|t| t.parse().ok())
        .with_context(|| format!("pgbench told no rate: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Beside the server that the tests use, or on PATH.
fn pgbench() -> anyhow::Result<std::path::PathBuf> {
    let mut dirs: Vec<_> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path()).collect();
    dirs.sort();
    let beside = dirs.into_iter().rev().map(|d| d.join("bin/pgbench")).find(|p| p.exists());
    Ok(beside.unwrap_or_else(|| "pgbench".into()))
}
