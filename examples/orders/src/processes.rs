//! The demo's child processes, the runtime and the order service: started, killed, started again, never left behind.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use avouch_runtime::dev::log::Log;
use avouch_runtime::dev::process::{Launch, Process};
use nix::sys::signal::Signal;
use tokio::time::sleep;

const POLL: Duration = Duration::from_millis(50);

/// A program and, while it runs, its process. Its end is ours too: a watchdog sees to it, however we die.
pub struct Child {
    name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    dir: PathBuf,
    process: Option<Process>,
}

impl Child {
    /// `avouch run` with this configuration file, and with none of the caller's `AVOUCH_…` variables: they may point to
    /// real servers.
    pub fn runtime(dir: &Path, config: &Path) -> anyhow::Result<Self> {
        let mut args: Vec<OsString> = Vec::new();
        let settings = std::env::vars_os().map(|(name, _)| name).filter(|n| n.to_string_lossy().starts_with("AVOUCH_"));
        for name in settings {
            args.extend(["-u".into(), name]);
        }
        args.push(avouch_binary()?.into());
        args.extend(["run".into(), "--config".into(), config.into()]);
        Ok(Self { name: "avouch", program: "/usr/bin/env".into(), args, dir: dir.into(), process: None })
    }

    /// This executable once more, as the order service.
    pub fn order_service(dir: &Path, database_url: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding the demo's own executable")?;
        let args = ["order-service", "--database-url", database_url].map(OsString::from).to_vec();
        Ok(Self { name: "order-service", program, args, dir: dir.into(), process: None })
    }

    /// Starts it; its log goes on where it was.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let launch = Launch {
            program: self.program.clone(),
            args: self.args.clone(),
            dir: self.dir.clone(),
            account: None,
            stop: Signal::SIGTERM,
            abort: Signal::SIGKILL,
        };
        let log = Log::claim(self.name, self.log()).await?;
        self.process = Some(Process::spawn(launch, log)?);
        Ok(())
    }

    /// SIGSTOP: it does nothing more, and does not know it.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.process.as_ref().map_or(Ok(()), |p| p.signal(Signal::SIGSTOP))?;
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), |p| p.kill().map(drop))?;
        Ok(())
    }

    /// SIGTERM, and waits; kills it if that takes too long.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.take() {
            process.stop().await?;
        }
        Ok(())
    }

    /// Fails if it has ended by itself.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.process.as_ref().is_some_and(Process::has_ended) {
            let text = fs::read_to_string(self.log()).unwrap_or_default();
            let last = text.lines().last().unwrap_or("nothing").to_owned();
            bail!("{} ended by itself; its log {} says: {last}", self.name, self.log().display());
        }
        Ok(())
    }

    /// Waits until it has ended by itself, and says why.
    pub async fn ended(&self) -> anyhow::Error {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            sleep(POLL).await;
        }
    }

    /// For the screen.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Where it logs.
    pub fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }
}

/// Beside our own executable, where cargo puts both.
pub fn avouch_binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding the demo's own executable")?;
    let dir = own.parent().unwrap_or(Path::new("/"));
    let binary = dir.join("avouch");
    if !binary.is_file() {
        let profile = if dir.ends_with("release") { " --release" } else { "" };
        bail!("{} is not built: run `cargo build -p avouch-runtime{profile}`, or `make demo`", binary.display());
    }
    Ok(binary)
}

/// The demo's directory, ours alone as long as this lives.
#[derive(Debug)]
pub struct Home {
    /// Absolute.
    pub dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Takes the directory and removes what an earlier demo left in it, once its servers are gone.
    pub async fn take(dir: &Path) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir).with_context(|| format!("finding {}", dir.display()))?;
        if dir.exists() && !is_of_a_demo(&dir) {
            bail!("{} holds something that is no demo's: choose another directory with --dir", dir.display());
        }
        let parent = dir
            .parent()
            .with_context(|| format!("{} cannot be the demo's directory: give another --dir", dir.display()))?;
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let lock = File::create(dir.with_extension("lock")).with_context(|| format!("locking {}", dir.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another demo runs in {}: end it with Ctrl-C, or choose another directory with --dir",
                    dir.display()
                )
            }
            Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("locking {}", dir.display())),
        }
        if dir.exists() {
            for log in LOGS.map(|log| dir.join(log)).into_iter().filter(|log| log.exists()) {
                Log::claim("demo", log).await?;
            }
            fs::remove_dir_all(&dir).with_context(|| format!("removing the last demo's {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self { dir, _lock: lock })
    }
}

/// Each is locked while what it belongs to lives.
const LOGS: [&str; 4] = ["postgres/postgres.log", "nats/nats-server.log", "avouch.log", "order-service.log"];

/// Empty, or with nothing but what a demo makes.
fn is_of_a_demo(dir: &Path) -> bool {
    let ours = ["postgres", "nats", "avouch.log", "order-service.log", "avouch.toml"];
    fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().all(|entry| entry.file_name().to_str().is_some_and(|name| ours.contains(&name)))
    })
}
