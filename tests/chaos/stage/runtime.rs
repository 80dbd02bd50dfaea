//! One `avouch run`: killed, frozen, ended in order, started again, and how old it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use avouch_tests::plugins;
use avouch_tests::process::{Avouch, binary};
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::time::sleep;

/// Longer than its grace period and its signing off.
const STOP_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Where Debian puts it, below the directory of the machine's kind.
const FAKETIME: &str = "faketime/libfaketime.so.1";
/// No clock is moved.
pub const RIGHT_TIME: &str = "+0";

/// A process in one of the slots.
#[derive(Debug)]
pub struct Runtime {
    avouch: Avouch,
    started: Instant,
}

impl Runtime {
    /// With this configuration; if `clock` is given, that file moves its wall clock.
    pub async fn start(config: &str, clock: Option<&Path>) -> Self {
        let mut variables = vec![("LC_ALL".to_owned(), "C".to_owned())];
        if let (Some(clock), Some(library)) = (clock, faketime()) {
            // Time that is measured goes on evenly, as when an operator sets a clock.
            variables.extend([
                ("LD_PRELOAD".to_owned(), library.display().to_string()),
                ("FAKETIME_TIMESTAMP_FILE".to_owned(), clock.display().to_string()),
                ("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()),
                ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
            ]);
        }
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self { avouch: Avouch::run_with(config, &variables).await, started: Instant::now() }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.avouch.kill();
    }

    /// After its end.
    pub async fn start_again(&mut self) {
        self.avouch.start_again().await;
        self.started = Instant::now();
    }

    /// SIGTERM, and its end; false if it had to be killed.
    pub async fn stop(&mut self) -> bool {
        self.avouch.signal(Signal::SIGTERM);
        let deadline = Instant::now() + STOP_MAX;
        while !self.avouch.has_ended() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        let in_order = self.avouch.has_ended();
        self.avouch.kill();
        in_order
    }

    /// Frozen, until [`Self::resume`].
    pub fn pause(&self) {
        self.avouch.pause();
    }

    /// Goes on.
    pub fn resume(&self) {
        self.avouch.resume();
    }

    /// Whether it ended without being told to.
    pub fn has_ended(&self) -> bool {
        self.avouch.has_ended()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.avouch.pid()
    }

    /// Since its last start.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Of all its lives.
    pub fn log(&self) -> String {
        self.avouch.log()
    }
}

/// A file that moves a clock, if the library for it is there.
pub fn clock(dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    if faketime().is_none() {
        println!("  ! no clock jumps, for there is no {FAKETIME}: apt-get install faketime");
        return Ok(None);
    }
    let file = dir.join("clock");
    set_clock(&file, RIGHT_TIME)?;
    Ok(Some(file))
}

fn faketime() -> Option<PathBuf> {
    let kinds = fs::read_dir("/usr/lib").ok()?;
    kinds.flatten().map(|kind| kind.path().join(FAKETIME)).find(|file| file.is_file())
}

/// `+3600s`, `-20s`. Replaced as a whole, for it is read at any moment.
pub fn set_clock(file: &Path, offset: &str) -> anyhow::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("{offset}\n"))
        .and_then(|()| fs::rename(&new, file))
        .context("the clock's file can be written")
}

/// Deploys the checker of transactions in doubt.
pub async fn deploy(dir: &Path, config: &str) -> anyhow::Result<()> {
    let file = dir.join("deploy.toml");
    fs::write(&file, config)?;
    let mut command = Command::new(binary());
    // The tests' own variables are no settings of the runtime.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AVOUCH_")) {
        command.env_remove(name);
    }
    command.arg("--config").arg(&file).args(["plugin", "deploy"]).arg(plugins::file("order-check"));
    let told = command.args(["--grant", "sql:orders"]).output().await?;
    ensure!(told.status.success(), "the checker cannot be deployed: {}", String::from_utf8_lossy(&told.stderr));
    Ok(())
}
