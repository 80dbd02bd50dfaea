//! How fast a backlog drains, beside plain publishing of the same messages; memory, and write-ahead log a message.

use std::time::Instant;

use avouch_tests::process::Avouch;

use crate::plain;
use crate::report::Report;
use crate::stage::Stage;

/// `drain_ratio`: plain publishing's time over the relay's, in pairs.
pub async fn drain(report: &mut Report, rows: u32, pairs: usize) -> anyhow::Result<()> {
    let stage = Stage::set().await;
    let (mut ratios, mut rates, mut plain_rates, mut raw_ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let before = stage.wal().await?;
        stage.load(rows).await?;
        let insert_wal = stage.wal().await? - before;
        stage.client.batch_execute("vacuum analyze avouch.outbox").await?;
        stage.client.batch_execute("checkpoint").await?;
        let plain_s = plain::publish(&stage.nats.url(), rows).await?.as_secs_f64();
        let before = stage.wal().await?;
        let drain_s = drain_once(&stage).await?;
        let mark_wal = stage.wal().await? - before;
        ratios.push(plain_s / drain_s);
        rates.push(f64::from(rows) / drain_s);
        plain_rates.push(f64::from(rows) / plain_s);
        if raw_ratios.is_empty() {
            report.add(
                "wal_insert_bytes",
                insert_wal / f64::from(rows),
                "a message, bare insert into the outbox".into(),
            );
            report.add(
                "wal_relay_bytes",
                mark_wal / f64::from(rows),
                "a message, added by the relay (after a checkpoint: full pages too)".into(),
            );
        }
        stage.clear().await?;
        stage.load(rows).await?;
        let raw_s = drain_once(&stage).await?;
        raw_ratios.push(plain_s / raw_s);
        stage.clear().await?;
    }
    report.median("drain_rows_per_s", &rates, "rows/s");
    report.median("plain_publish_per_s", &plain_rates, "messages/s");
    report.median("drain_ratio", &ratios, "bar 0.45");
    report.median("drain_ratio_after_load", &raw_ratios, "right after a bulk load, nothing vacuumed");
    Ok(())
}

/// From the resume of a paused topic, with everything connected, until the last row is marked.
async fn drain_once(stage: &Stage) -> anyhow::Result<f64> {
    let mut avouch = paused_runtime(stage).await?;
    let started = Instant::now();
    stage.client.execute("select avouch.resume('topic', 'orders.created')", &[]).await?;
    stage.drained().await;
    let took = started.elapsed().as_secs_f64();
    avouch.terminate(std::time::Duration::from_secs(10)).await;
    Ok(took)
}

async fn paused_runtime(stage: &Stage) -> anyhow::Result<Avouch> {
    stage.client.execute("select avouch.pause('topic', 'orders.created')", &[]).await?;
    let avouch = stage.runtime().await;
    avouch.wait_for_log("connected to NATS", std::time::Duration::from_secs(30)).await;
    Ok(avouch)
}

/// `memory_mb`: the runtime's highest resident size while a million rows drain.
pub async fn memory(report: &mut Report, rows: u32) -> anyhow::Result<()> {
    let stage = Stage::set().await;
    stage.load(rows).await?;
    let mut avouch = stage.runtime().await;
    stage.drained().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", avouch.pid()))?;
    let peak_kb: f64 = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(f64::NAN);
    report.add("memory_mb", peak_kb / 1024.0, format!("peak resident while {rows} rows drained, bar 100"));
    avouch.terminate(std::time::Duration::from_secs(10)).await;
    Ok(())
}
