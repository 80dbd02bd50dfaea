//! A private nats-server with JetStream on loopback: started, paused, crashed and started again on the same store and port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_nats::{ConnectOptions, jetstream};
use nix::sys::signal::Signal;

use super::log::Log;
use super::process::{self, Error, Launch, Process, free_port};

const NAME: &str = "nats-server";
/// The oldest release with the JetStream API that the broker module speaks.
const VERSION_MIN: (u32, u32) = (2, 11);
/// How often a free port may turn out to be taken before we give up.
const PORT_TRIES_MAX: u32 = 5;
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Where and how to run the server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Holds `store/`, `nats-server.conf` and `nats-server.log`; made if missing.
    pub dir: PathBuf,
    /// On 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// In bytes; `None` leaves the server's default of 1 MiB.
    pub max_payload: Option<u32>,
    /// Lines for the end of the configuration file; a `jetstream { … }` block without `store_dir` is welcome.
    pub extra_config: String,
    /// How to log in, if `extra_config` asks for a login or TLS: the server is up when JetStream answers.
    pub connect: ConnectOptions,
}

/// A nats-server of our own. Dropping it ends the server; so does the death of this process, however it comes.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    options: Options,
    port: u16,
    monitor_port: u16,
    process: Option<Process>,
}

impl NatsServer {
    /// Finds the executable and returns once JetStream answers.
    pub async fn start(mut options: Options) -> Result<NatsServer, Error> {
        let program = find_program()?;
        options.dir =
            std::path::absolute(&options.dir).map_err(Error::system(format!("find {}", options.dir.display())))?;
        fs::create_dir_all(&options.dir).map_err(Error::system(format!("make {}", options.dir.display())))?;
        let port = options.port.map_or_else(free_port, Ok)?;
        let mut server = NatsServer { program, options, port, monitor_port: free_port()?, process: None };
        for _ in 1..PORT_TRIES_MAX {
            match server.start_again().await {
                Err(Error::PortTaken { .. }) if server.options.port.is_none() => {
                    server.port = free_port()?;
                    server.monitor_port = free_port()?;
                }
                started => return started.map(|()| server),
            }
        }
        server.start_again().await.map(|()| server)
    }

    /// Starts it on the same store and ports, after `stop`, `kill` or a crash; a running server is left alone.
    pub async fn start_again(&mut self) -> Result<(), Error> {
        if self.process.as_ref().is_some_and(|process| !process.has_ended()) {
            return Ok(());
        }
        self.kill()?;
        let log = Log::claim(NAME, self.options.dir.join("nats-server.log")).await?;
        let config = self.options.dir.join("nats-server.conf");
        fs::write(&config, self.config()).map_err(Error::system(format!("write {}", config.display())))?;
        let launch = Launch {
            program: self.program.clone(),
            // JetStream is switched on here, so that a `jetstream` block in the extra lines does not have to.
            args: vec!["-c".into(), config.into(), "-js".into()],
            dir: self.options.dir.clone(),
            account: None,
            stop: Signal::SIGTERM,
            abort: Signal::SIGKILL,
        };
        let process = Process::spawn(launch, log)?;
        process.ready(self.port, async || self.probe().await).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it in order.
    pub async fn stop(&mut self) -> Result<(), Error> {
        if let Some(process) = self.process.take() {
            process.stop().await?;
        }
        Ok(())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<(), Error> {
        if let Some(process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn pause(&self) -> Result<(), Error> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::SIGSTOP))
    }

    /// Ends a pause.
    pub fn resume(&self) -> Result<(), Error> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::SIGCONT))
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where the server's monitoring pages are: `/varz`, `/jsz`.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor_port)
    }

    /// On 127.0.0.1, the same over all restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id, while one was started and not ended by us.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Where the store, the configuration and the log are.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// JetStream's store, to be wiped by tests while the server is down.
    pub fn store(&self) -> PathBuf {
        self.options.dir.join("store")
    }

    fn config(&self) -> String {
        let mut lines = vec![
            "host: 127.0.0.1".to_owned(),
            format!("port: {}", self.port),
            format!("http: \"127.0.0.1:{}\"", self.monitor_port),
            format!("server_name: \"{}\"", self.server_name()),
            format!("store_dir: \"{}\"", quoted(&self.store())),
        ];
        lines.extend(self.options.max_payload.map(|bytes| format!("max_payload: {bytes}")));
        lines.push(self.options.extra_config.clone());
        lines.join("\n") + "\n"
    }

    /// Tells it from another server of ours on the same port, which holds its monitor port.
    fn server_name(&self) -> String {
        format!("avouch-private-{}-{}", self.port, self.monitor_port)
    }

    /// Succeeds if this server, not another one on its port, answers for JetStream.
    async fn probe(&self) -> Result<(), String> {
        let options = self.options.connect.clone();
        let options = options.connection_timeout(CONNECT_MAX).request_timeout(Some(CONNECT_MAX));
        let client = options.connect(self.url()).await.map_err(|error| error.to_string())?;
        let found = client.server_info().server_name;
        let account = jetstream::new(client).query_account().await.map_err(|error| error.to_string());
        if found != self.server_name() {
            return Err(format!("port {} is the server {found}", self.port));
        }
        account.map(|_| ())
    }
}

/// The first of: the environment's, the one `make setup` put into the project, the one on PATH.
fn find_program() -> Result<PathBuf, Error> {
    let remedy = "put nats-server 2.11 or newer on PATH";
    let given = std::env::var_os("AVOUCH_NATS_SERVER").map(PathBuf::from);
    let program = given.or_else(in_project).or_else(|| process::on_path("nats-server"));
    let program = program.ok_or(Error::Missing { name: NAME, remedy })?;
    let output = Command::new(&program).arg("--version").output();
    let output = output.map_err(Error::system(format!("run {} (is AVOUCH_NATS_SERVER right?)", program.display())))?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match version(&found) {
        Some(version) if version >= VERSION_MIN => Ok(program),
        _ => Err(Error::TooOld { path: program, found, needed: "2.11" }),
    }
}

fn in_project() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|dir| dir.join(".avouch/bin/nats-server")).find(|file| file.is_file())
}

/// Major and minor of `nats-server: v2.15.1`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (_, number) = text.rsplit_once('v')?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// For a quoted string of the configuration file.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\\', r"\\").replace('"', r#"\""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("nats-server: v2.15.1"), Some((2, 15)));
        assert_eq!(version("nats-server: v2.9.0-beta.1"), Some((2, 9)));
        assert!(version("nats-server: v2.9.0") < Some(VERSION_MIN));
        assert_eq!(version("no nats here"), None);
    }
}
