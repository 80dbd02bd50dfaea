//! One Postgres and one nats-server for all tests of this process, and private ones for the tests that kill servers.
//!
//! Every test has a runtime of its own, so the shared servers belong to a runtime that none of them ends.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Child;
use std::sync::OnceLock;
use std::thread;

use avouch_runtime::dev::nats_server::{self, NatsServer};
use avouch_runtime::dev::postgres::{self, Postgres};
use tokio::runtime::{Builder, Runtime};

use crate::scratch;

/// Larger than the sum of what all tests hold open at a time.
const CONNECTIONS_MAX: &str = "300";

/// Whether Postgres syncs what it commits. Only the tests that crash a whole machine would see a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// `fsync = on`, as in production.
    On,
    /// Faster.
    Off,
}

/// The servers that all tests of this process share. They are never stopped: use `OwnPostgres` or `OwnNats` for that.
#[derive(Debug)]
pub struct Shared {
    /// Lives as long as the process.
    pub runtime: Runtime,
    /// `fsync = off`.
    pub postgres: Postgres,
    /// Default settings.
    pub nats: NatsServer,
    _janitor: Child,
}

/// The shared servers, started by whoever asks first. Panics with the remedy if one cannot be started.
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    // A thread of its own, because the caller may be inside a runtime, where another one cannot be waited for.
    let shared = SHARED.get_or_init(|| {
        let started = thread::spawn(start_shared).join();
        started.unwrap_or_else(|_| Err("the thread that starts the servers panicked".to_owned()))
    });
    shared.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

fn start_shared() -> Result<Shared, String> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("shared-servers").enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot make a runtime: {error}"))?;
    let dir = scratch::dir("shared");
    let started = runtime.block_on(async {
        let postgres = Postgres::start(postgres_options(dir.join("postgres"), Sync::Off)).await?;
        let options = nats_server::Options { dir: dir.join("nats"), ..nats_server::Options::default() };
        Ok((postgres, NatsServer::start(options).await?))
    });
    let (postgres, nats) = started.map_err(|error: avouch_runtime::dev::process::Error| error.to_string())?;
    let pid = postgres.pid().expect("it has just been started");
    let janitor = scratch::remove_at_end(pid, &[&dir, postgres.dir()]);
    Ok(Shared { runtime, postgres, nats, _janitor: janitor })
}

fn postgres_options(dir: PathBuf, sync: Sync) -> postgres::Options {
    let fsync = match sync {
        Sync::On => "on",
        Sync::Off => "off",
    };
    let settings = [
        ("fsync", fsync),
        // In files, so that a server that is killed for good leaves nothing in the system's memory.
        ("dynamic_shared_memory_type", "mmap"),
        ("max_connections", CONNECTIONS_MAX),
        ("max_prepared_transactions", "20"),
        ("shared_buffers", "128MB"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    postgres::Options { dir, port: None, settings }
}

/// A Postgres for one test, which may stop, kill and restart it. Ends, and loses its data, when dropped.
#[derive(Debug)]
pub struct OwnPostgres {
    server: Postgres,
    // Dropped after the server, which is what it waits for.
    _janitor: Child,
}

impl OwnPostgres {
    /// Starts it empty: without any database of ours.
    pub async fn start(sync: Sync) -> OwnPostgres {
        let scratch = scratch::dir("postgres");
        let started = Postgres::start(postgres_options(scratch.clone(), sync)).await;
        let server = started.unwrap_or_else(|error| panic!("{error}"));
        let pid = server.pid().expect("it has just been started");
        let janitor = scratch::remove_at_end(pid, &[&scratch, server.dir()]);
        OwnPostgres { server, _janitor: janitor }
    }
}

impl Deref for OwnPostgres {
    type Target = Postgres;
    fn deref(&self) -> &Postgres {
        &self.server
    }
}

impl DerefMut for OwnPostgres {
    fn deref_mut(&mut self) -> &mut Postgres {
        &mut self.server
    }
}

/// A nats-server for one test, which may stop, kill, pause and restart it. Ends, and loses its store, when dropped.
#[derive(Debug)]
pub struct OwnNats {
    server: NatsServer,
    // Dropped after the server, which is what it waits for.
    _janitor: Child,
}

impl OwnNats {
    /// Starts it with default settings.
    pub async fn start() -> OwnNats {
        OwnNats::start_with(nats_server::Options::default()).await
    }

    /// Starts it with these settings, in a directory of ours.
    pub async fn start_with(options: nats_server::Options) -> OwnNats {
        let started = NatsServer::start(nats_server::Options { dir: scratch::dir("nats"), ..options }).await;
        let server = started.unwrap_or_else(|error| panic!("{error}"));
        let pid = server.pid().expect("it has just been started");
        let janitor = scratch::remove_at_end(pid, &[server.dir()]);
        OwnNats { server, _janitor: janitor }
    }
}

impl Deref for OwnNats {
    type Target = NatsServer;
    fn deref(&self) -> &NatsServer {
        &self.server
    }
}

impl DerefMut for OwnNats {
    fn deref_mut(&mut self) -> &mut NatsServer {
        &mut self.server
    }
}
