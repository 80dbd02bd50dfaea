//! The broker forgets: its store is wiped, or an older copy takes its place. What it had held is on record before.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use avouch_runtime::dev::nats_server::{self, NatsServer};
use tokio::process::Command;
use tokio::time::sleep;

use crate::dump::dump;
use crate::facts::Stored;
use crate::schedule::Memory;
use crate::stage::Stage;

/// How old the copy is when it comes back.
const OLDER: Duration = Duration::from_secs(3);

/// What was held before each loss, one dump after another.
#[derive(Debug, Default)]
pub struct Forgotten {
    dumps: Mutex<Vec<Stored>>,
    times: AtomicU32,
}

impl Forgotten {
    /// How often it forgot: the number of the dump that follows.
    pub fn times(&self) -> u32 {
        self.times.load(Ordering::Relaxed)
    }

    /// All that was held.
    pub fn take(&self) -> Vec<Stored> {
        std::mem::take(&mut self.dumps.lock().expect("nobody panics with the dumps"))
    }

    /// Crashes the server, keeps what it had, and starts it with less.
    pub async fn forget(&self, stage: &Stage, memory: Memory) -> anyhow::Result<()> {
        let mut nats = stage.nats.lock().await;
        let (store, older) = (nats.server.store(), stage.dir().join("older"));
        nats.kill()?;
        if memory == Memory::OlderCopy {
            copy(&store, &older).await?;
            nats.start_again().await?;
            sleep(OLDER).await;
            nats.kill()?;
        }
        self.keep(stage, &store).await?;
        remove(&store)?;
        if memory == Memory::OlderCopy {
            copy(&older, &store).await?;
            remove(&older)?;
        }
        nats.start_again().await
    }

    /// Read from a copy by another server: this one's must not come back for it.
    async fn keep(&self, stage: &Stage, store: &Path) -> anyhow::Result<()> {
        let dir = stage.dir().join("side");
        copy(store, &dir.join("store")).await?;
        let options = nats_server::Options { dir: dir.clone(), ..nats_server::Options::default() };
        let mut side = NatsServer::start(options).await?;
        let held = dump(&side.url(), self.times()).await?;
        side.kill()?;
        remove(&dir)?;
        self.dumps.lock().expect("nobody panics with the dumps").extend(held);
        self.times.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

async fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let parent = to.parent().context("a store lies in a directory")?;
    std::fs::create_dir_all(parent)?;
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().await?;
    ensure!(status.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}
