//! One run from its seed to its verdict: load and faults, then healing, draining, checking.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use avouch_tests::scratch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checker::check;
use crate::facts::Facts;
use crate::faults::{Forgotten, heal, play};
use crate::ledger::{Books, Ledger};
use crate::load::consumers::{self, Lanes};
use crate::load::producers::{self, Load};
use crate::load::topics;
use crate::observe::Seen;
use crate::report::Run;
use crate::schedule::{Lane, Plan};
use crate::settings::Settings;
use crate::stage::Stage;
use crate::{Colour, collect, dump, report};

/// The whole of it.
pub async fn run(settings: &Settings) -> anyhow::Result<Colour> {
    let dir = directory(settings.seed)?;
    println!("seed {}, {} s, {} messages a second", settings.seed, settings.run.as_secs(), settings.rate_per_s);
    let stage = Arc::new(Stage::set().await?);
    let began = Instant::now();
    let ran = facts(settings, &stage, &dir, began).await;
    if ran.is_err() {
        keep_logs(&stage, &dir).await.context("the logs cannot be kept")?;
    }
    let (facts, applied) = ran?;
    let violations = check(&facts);
    let sprung = stage.lanes().iter().map(crate::proxy::Proxy::sprung).sum();
    let notes = stage.notes.lock().expect("nobody panics with the notes").clone();
    let run = Run { seed: settings.seed, took: settings.run, applied, sprung, notes };
    report::print(&run, &facts, &violations);
    if violations.is_empty() {
        std::fs::remove_dir_all(&dir)?;
        return Ok(Colour::Green);
    }
    report::keep(&facts, &violations, &dir)?;
    keep_logs(&stage, &dir).await?;
    println!("kept: {}", dir.display());
    Ok(Colour::Red)
}

/// `target/chaos/<seed>`, without what a former run of this seed left.
fn directory(seed: u64) -> anyhow::Result<PathBuf> {
    let profile = scratch::profile_dir();
    let dir = profile.parent().context("a profile lies in the target directory")?.join("chaos").join(seed.to_string());
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

async fn facts(
    settings: &Settings,
    stage: &Arc<Stage>,
    dir: &Path,
    began: Instant,
) -> anyhow::Result<(Facts, Vec<&'static str>)> {
    let (written, did) = (Ledger::open(&dir.join("written"))?, Ledger::open(&dir.join("effects"))?);
    let (seen, forgotten) = (Arc::new(Seen::default()), Forgotten::default());
    let looking = look(stage, &seen);
    let lanes = Lanes {
        database_url: stage.database_url(Lane::ConsumersPostgres),
        nats_url: stage.nats_url(Lane::ConsumersNats),
    };
    let consumers = consumers::start(&lanes, &did).await?;
    let stop = CancellationToken::new();
    let url = stage.database_url(Lane::Producers);
    let load = Load { seed: settings.seed, rate_per_s: settings.rate_per_s, url, stop: stop.clone() };
    let mut producers = producers::start(&load, &written);
    let run_ms = u64::try_from(settings.run.as_millis())?;
    let Settings { seed, forgetting, only, .. } = settings.clone();
    let [kills, troubles] = Plan { seed, run_ms, forgetting, only }.series();
    let (kills, troubles) =
        tokio::try_join!(play(stage, &kills, began, &forgotten), play(stage, &troubles, began, &forgotten))?;
    tokio::time::sleep_until(began + settings.run).await;
    println!("{:7.1} s  healing", began.elapsed().as_secs_f64());
    stop.cancel();
    heal(stage).await?;
    while let Some(ended) = producers.join_next().await {
        ended.context("a producer broke")?;
    }
    println!("{:7.1} s  draining", began.elapsed().as_secs_f64());
    let mut ending = collect::ending(stage).await?;
    println!("{:7.1} s  drained", began.elapsed().as_secs_f64());
    drop((looking, consumers));
    let (polled, samples, ended) = seen.take();
    (ending.ended_by_themselves, ending.forgotten) = (ended, forgotten.times());
    let client = stage.direct().await?;
    let mut stream = forgotten.take();
    stream.extend(dump::dump(&stage.direct_nats_url(), forgotten.times()).await?);
    let Books { written, deeds, .. } = written.read()?;
    let mut effects = did.read()?.effects;
    effects.extend(collect::effects(&client).await?);
    let mut owners = collect::owners(&client).await?;
    owners.extend(polled);
    let facts = Facts {
        topics: topics::all(),
        once: topics::ONCE.into(),
        gate: topics::GATE.into(),
        written,
        deeds,
        stream,
        rows: collect::rows(&client).await?,
        moves: collect::moves(&client).await?,
        effects,
        owners,
        samples,
        ending,
    };
    Ok((facts, [kills, troubles].concat()))
}

/// Ends when dropped.
fn look(stage: &Arc<Stage>, seen: &Arc<Seen>) -> tokio::task::JoinSet<()> {
    let mut looking = tokio::task::JoinSet::new();
    let (at, by) = (Arc::clone(stage), Arc::clone(seen));
    looking.spawn(async move { by.owners(&at).await });
    let (at, by) = (Arc::clone(stage), Arc::clone(seen));
    looking.spawn(async move { by.runtimes(&at).await });
    looking
}

async fn keep_logs(stage: &Stage, dir: &Path) -> anyhow::Result<()> {
    for (slot, runtime) in stage.runtimes.iter().enumerate() {
        std::fs::write(dir.join(format!("runtime-{slot}.log")), runtime.lock().await.log())?;
    }
    std::fs::copy(stage.postgres.lock().await.server.dir().join("postgres.log"), dir.join("postgres.log"))?;
    std::fs::copy(stage.nats.lock().await.server.dir().join("nats-server.log"), dir.join("nats-server.log"))?;
    Ok(())
}
