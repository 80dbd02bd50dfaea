//! What the sandbox costs beside a bare call of the same component, and how fast transactions are settled.

use std::path::Path;
use std::time::{Duration, Instant};

use avouch_runtime::broker;
use avouch_runtime::rules::{Bindings, File, Grants, Rules, Transaction, limits};
use avouch_tests::plugins;
use avouch_tests::process::{Avouch, binary};
use avouch_tests::scratch;
use avouch_tests::wait::until;

use crate::bare;
use crate::report::Report;
use crate::stage::Stage;

/// A transaction that `order-check` answers without asking its database: the call alone is measured.
fn unreadable() -> Transaction {
    Transaction {
        id: uuid::Uuid::now_v7().to_string(),
        checker: "order-check".into(),
        reference: Some("not a number".into()),
        age_ms: 1,
        attempt: 0,
        message_count: 0,
        messages: Vec::new(),
    }
}

fn bindings() -> anyhow::Result<Bindings> {
    let url = serde_json::json!({"sql": {"orders": {"url": "postgres://nobody@127.0.0.1:1/x"}}});
    Ok(serde_json::from_value(url)?)
}

fn engine(reuse_calls_max: u32, cache: &Path) -> anyhow::Result<Rules> {
    let config = limits::Config { reuse_calls_max, cache_dir: Some(cache.to_owned()), ..limits::Config::default() };
    Ok(Rules::new((&config, 100), &bindings()?, &broker::Config::default(), binary())?)
}

/// `rule_*`: with all limits armed, beside bare calls, in turns.
pub async fn calls(report: &mut Report, time: Duration, pairs: usize) -> anyhow::Result<()> {
    let file = File::read(std::fs::read(plugins::file("order-check"))?, usize::MAX)?;
    let grants = Grants { bindings: file.manifest.requests(), ..Grants::default() };
    let cache = scratch::dir("cache");
    std::fs::set_permissions(&cache, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let (fresh, reused) = (engine(0, &cache)?, engine(u32::MAX, &cache)?);
    let began = Instant::now();
    let fresh_plugin = fresh.load(&file, &grants).await?;
    report.add("plugin_cold_load_ms", began.elapsed().as_secs_f64() * 1e3, "compiled in a child".into());
    let began = Instant::now();
    let reused_plugin = reused.load(&file, &grants).await?;
    report.add("plugin_warm_load_ms", began.elapsed().as_secs_f64() * 1e3, "from the cache".into());
    let bare = bare::Bare::new(&file.bytes)?;
    let (mut ours_fresh, mut ours_reused, mut bare_fresh, mut bare_reused) = (vec![], vec![], vec![], vec![]);
    let part = time / 4;
    for _ in 0..pairs {
        bare_fresh.push(each(part, async || bare.fresh().await).await?);
        ours_fresh.push(
            each(part, async || fresh.ask(&fresh_plugin, &unreadable()).await.verdict.is_err().then_some(())).await?,
        );
        let mut kept = bare.kept().await?;
        bare_reused.push(each(part, async || bare.again(&mut kept).await).await?);
        ours_reused.push(
            each(part, async || reused.ask(&reused_plugin, &unreadable()).await.verdict.is_err().then_some(())).await?,
        );
    }
    let ratio = |ours: &[f64], bare: &[f64]| ours.iter().zip(bare).map(|(o, b)| o / b).collect::<Vec<_>>();
    report.median("rule_call_us_fresh", &ours_fresh, "a fresh instance for each call, all limits armed");
    report.median("rule_bare_us_fresh", &bare_fresh, "wasmtime alone, pooled");
    report.median("rule_fresh_ratio", &ratio(&ours_fresh, &bare_fresh), "bar 1.3");
    report.median("rule_call_us_reused", &ours_reused, "an instance that was used before");
    report.median("rule_bare_us_reused", &bare_reused, "wasmtime alone");
    report.median("rule_reused_ratio", &ratio(&ours_reused, &bare_reused), "bar 1.3");
    let rate: Vec<f64> = ours_fresh.iter().map(|us| 1e6 / us).collect();
    report.median("rule_decisions_per_s_core", &rate, "fresh instances, one core");
    Ok(())
}

/// Microseconds of one call, over `time`.
async fn each(time: Duration, mut call: impl AsyncFnMut() -> Option<()>) -> anyhow::Result<f64> {
    let (began, mut calls) = (Instant::now(), 0u32);
    while began.elapsed() < time {
        for _ in 0..64 {
            call().await.ok_or_else(|| anyhow::anyhow!("a call did not answer as expected"))?;
        }
        calls += 64;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(calls))
}

/// `checkback_rate`: prepared transactions, each with one message and one query by its plugin, until the last one is settled.
pub async fn checkback(report: &mut Report, transactions: i32) -> anyhow::Result<()> {
    let stage = Stage::set().await;
    stage
        .client
        .batch_execute(
            "create schema shop; create table shop.orders (id bigint primary key, status text); create role checker login; \
             grant usage on schema shop to checker; grant select on shop.orders to checker; \
             insert into shop.orders select n, 'placed' from generate_series(1, 1000) n",
        )
        .await?;
    let prepare = format!(
        "set avouch.doorbell = off; do $$ declare t uuid; begin for n in 1..{transactions} loop \
           t := avouch.prepare('order-check', '0 s', (n % 1000 + 1)::text); \
           insert into avouch.outbox (tx_id, topic, key, payload) values (t, 'orders', n::text, repeat('x', 200)); end loop; end $$"
    );
    stage.client.batch_execute(&prepare).await?;
    stage.client.batch_execute("vacuum analyze").await?;
    let (_, host) = stage.database.url().split_once('@').ok_or_else(|| anyhow::anyhow!("a url with a user"))?;
    let config = format!(
        "[source.main]\nurl = \"{}\"\n[nats]\nurl = \"{}\"\n[binding.sql.orders]\nurl = \"postgres://checker@{host}\"\n\
         [checker.order-check]\nrollback_after_ms = 0\n",
        stage.database.url(),
        stage.nats.url()
    );
    let file = scratch::dir("config").join("avouch.toml");
    std::fs::write(&file, &config)?;
    let wasm = plugins::file("order-check");
    let deployed = std::process::Command::new(binary())
        .args(["--config".as_ref(), file.as_os_str(), "plugin".as_ref(), "deploy".as_ref(), wasm.as_os_str()])
        .args(["--grant", "sql:orders"])
        .status()?;
    anyhow::ensure!(deployed.success(), "the plugin is not deployed");
    let began = Instant::now();
    let mut avouch = Avouch::run(&config).await;
    avouch.wait_for_log("avouch runs", Duration::from_secs(30)).await;
    report.add("ready_ms", began.elapsed().as_secs_f64() * 1e3, "avouch run with a warm cache, bar 500".into());
    let began = Instant::now();
    until("every transaction to be settled", Duration::from_secs(300), async || {
        let sql = "select not exists (select from avouch.tx where state = 'prepared')";
        stage.client.query_one(sql, &[]).await.ok().filter(|row| row.get(0))
    })
    .await;
    let rate = f64::from(transactions) / began.elapsed().as_secs_f64();
    let committed = "select count(*) from avouch.tx where state = 'committed' and decided_by = 'checker'";
    let committed: i64 = stage.client.query_one(committed, &[]).await?.get(0);
    anyhow::ensure!(committed == i64::from(transactions), "{committed} of {transactions} were committed");
    report.add(
        "checkback_rate",
        rate,
        format!("transactions/s, {transactions} of them with one query each, while their messages are sent; bar 5000"),
    );
    avouch.terminate(Duration::from_secs(10)).await;
    Ok(())
}
