//! The directory of an example: taken, cleared, locked.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use avouch_runtime::dev::log::Log;

/// The example's directory, ours alone as long as this lives.
#[derive(Debug)]
pub struct Home {
    /// Absolute.
    pub dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Takes the directory and removes what an earlier run left in it, once its servers are gone.
    pub async fn take(dir: &Path) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir).with_context(|| format!("finding {}", dir.display()))?;
        if dir.exists() && !is_of_an_example(&dir) {
            bail!("{} holds something that is no example's: choose another directory with --dir", dir.display());
        }
        let parent = dir
            .parent()
            .with_context(|| format!("{} cannot be the example's directory: give another --dir", dir.display()))?;
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let lock = File::create(dir.with_extension("lock")).with_context(|| format!("locking {}", dir.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another example runs in {}: end it with Ctrl-C, or choose another directory with --dir",
                    dir.display()
                )
            }
            Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("locking {}", dir.display())),
        }
        if dir.exists() {
            for log in logs(&dir) {
                Log::claim("example", log).await?;
            }
            fs::remove_dir_all(&dir).with_context(|| format!("removing the last run's {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self { dir, _lock: lock })
    }
}

/// Each is locked while what it belongs to lives.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let servers = ["postgres/postgres.log", "nats/nats-server.log"].map(|log| dir.join(log));
    let here = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    servers.into_iter().chain(here.filter(|path| is_log(path))).filter(|log| log.exists()).collect()
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// Empty, or with nothing but what an example makes.
fn is_of_an_example(dir: &Path) -> bool {
    let ours = ["postgres", "nats", "avouch.toml"];
    fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().all(|entry| ours.iter().any(|name| entry.file_name() == *name) || is_log(&entry.path()))
    })
}
