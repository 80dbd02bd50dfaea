//! Child processes, the runtime and a story's own services: started, killed, started again, never left behind.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use avouch_runtime::dev::log::Log;
use avouch_runtime::dev::process::{Launch, Process};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

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

    /// This executable once more, with these arguments: a service of the story. Logs to `<name>.log`.
    pub fn service(name: &'static str, dir: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding the example's own executable")?;
        let args = args.iter().map(OsString::from).collect();
        Ok(Self { name, program, args, dir: dir.into(), process: None })
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

    /// SIGCONT, for one that was frozen or has frozen itself.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.process.as_ref().map_or(Ok(()), |p| p.signal(Signal::SIGCONT))?;
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

    /// Waits until this is in its log.
    pub async fn has_said(&self, text: &str) {
        while !fs::read_to_string(self.log()).is_ok_and(|log| log.contains(text)) {
            sleep(POLL).await;
        }
    }

    /// Whether it was started and has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.process.as_ref().is_some_and(Process::has_ended)
    }

    /// Waits for its end, and says how it ended; kills it when the time is over.
    pub async fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while !self.has_ended() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        let process = self.process.take().with_context(|| format!("{} was not started", self.name))?;
        Ok(process.kill()?)
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
    let own = std::env::current_exe().context("finding the example's own executable")?;
    let dir = own.parent().unwrap_or(Path::new("/"));
    let binary = dir.join("avouch");
    if !binary.is_file() {
        let profile = if dir.ends_with("release") { " --release" } else { "" };
        bail!("{} is not built: run `cargo build -p avouch-runtime{profile}`, or `make demo`", binary.display());
    }
    Ok(binary)
}

/// Deploys a plugin of this repository, from where `make guests` puts it, to the database of a configuration.
pub async fn deploy(config: &Path, plugin: &str, args: &[&str]) -> anyhow::Result<()> {
    let avouch = avouch_binary()?;
    let target = avouch.ancestors().nth(2).context("the binary lies in target/debug")?;
    let file = target.join("guests/wasm32-unknown-unknown/guest").join(format!("{}.wasm", plugin.replace('-', "_")));
    anyhow::ensure!(file.is_file(), "no {}: run `make guests`", file.display());
    let file = file.to_str().context("the binary lies below a directory with another than a UTF-8 name")?;
    run_avouch(config, &[&["plugin", "deploy", file], args].concat()).await.map(drop)
}

/// Runs a command of `avouch` with this configuration to its good end. Returns what it says.
pub async fn run_avouch(config: &Path, args: &[&str]) -> anyhow::Result<String> {
    let words = args.join(" ");
    let mut command = tokio::process::Command::new(avouch_binary()?);
    command.arg("--config").arg(config).args(args).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("avouch {words}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "avouch {words}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
