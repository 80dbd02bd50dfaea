//! The private servers, each on a disk of its own where that is possible; crashed, frozen and started again.

use std::fs;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use avouch_runtime::dev::nats_server::{self, NatsServer};
use avouch_runtime::dev::postgres::{self, Postgres};
use avouch_runtime::dev::process::Error;
use avouch_tests::scratch;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};

use crate::disk::Disk;

/// A server may have to wait for its disk to have room, and recover what it has.
const START_MAX: Duration = Duration::from_secs(120);
const CONNECT_MAX: Duration = Duration::from_secs(3);
const POSTGRES: [(&str, &str); 5] = [
    ("dynamic_shared_memory_type", "mmap"),
    ("max_connections", "200"),
    ("shared_buffers", "128MB"),
    ("max_wal_size", "256MB"),
    ("checkpoint_timeout", "60s"),
];

/// A connection, served until it ends.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let connecting = timeout(CONNECT_MAX, tokio_postgres::connect(url, NoTls));
    let (client, connection) = connecting.await.context("connecting took too long")??;
    // Its client sees the end as well.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Postgres.
#[derive(Debug)]
pub struct Database {
    pub server: Postgres,
    pub disk: Option<Arc<Disk>>,
    _janitor: Child,
}

impl Database {
    /// Empty.
    pub async fn start() -> anyhow::Result<Self> {
        let disk = disk("postgres");
        let dir = disk.as_ref().map_or_else(|| scratch::dir("postgres"), |disk| disk.path().join("server"));
        let settings = POSTGRES.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let server = Postgres::start(postgres::Options { dir, port: None, settings }).await?;
        let pid = server.pid().context("it has just been started")?;
        let janitor = scratch::remove_at_end(pid, &[server.dir()]);
        Ok(Self { server, disk, _janitor: janitor })
    }

    /// SIGKILL to all of it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.server.kill()?)
    }

    /// Does nothing if it runs.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        insist("postgres", &mut self.server, async |server| server.start_again().await).await
    }

    /// SIGSTOP or SIGCONT to the server and its children, who would go on without it.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = self.server.pid() else { return Ok(()) };
        // Stopped first and continued last, it makes no new children meanwhile.
        let children = |pid: u32| -> Vec<u32> {
            let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
        };
        let mut family = vec![pid];
        if signal == Signal::SIGSTOP {
            send(pid, signal)?;
            family = children(pid);
        } else {
            family.splice(0..0, children(pid));
        }
        family.into_iter().try_for_each(|pid| send(pid, signal))
    }
}

/// nats-server.
#[derive(Debug)]
pub struct Broker {
    pub server: NatsServer,
    pub disk: Option<Arc<Disk>>,
    _janitor: Child,
}

impl Broker {
    /// Empty.
    pub async fn start() -> anyhow::Result<Self> {
        let disk = disk("nats");
        let dir = disk.as_ref().map_or_else(|| scratch::dir("nats"), |disk| disk.path().join("server"));
        let server = NatsServer::start(nats_server::Options { dir, ..nats_server::Options::default() }).await?;
        let pid = server.pid().context("it has just been started")?;
        let janitor = scratch::remove_at_end(pid, &[server.dir()]);
        Ok(Self { server, disk, _janitor: janitor })
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.server.kill()?)
    }

    /// Does nothing if it runs.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        insist("nats", &mut self.server, async |server| server.start_again().await).await
    }

    /// SIGSTOP or SIGCONT.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(if signal == Signal::SIGSTOP { self.server.pause() } else { self.server.resume() }?)
    }
}

fn disk(name: &str) -> Option<Arc<Disk>> {
    match Disk::mount(name) {
        Ok(disk) => Some(Arc::new(disk)),
        Err(error) => {
            println!("  ! no disk of {name} can be full, for that is left out: {error:#}");
            None
        }
    }
}

/// As a service manager would: a disk that is full at the moment is no reason to give up.
async fn insist<S>(name: &str, server: &mut S, start: impl AsyncFn(&mut S) -> Result<(), Error>) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_MAX;
    loop {
        match start(server).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).context(format!("{name} does not start again"));
            }
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

fn send(pid: u32, signal: Signal) -> anyhow::Result<()> {
    match kill(Pid::from_raw(pid.cast_signed()), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot send {signal} to {pid}")),
    }
}
