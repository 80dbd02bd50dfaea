//! What a run is played on: private servers on disks of their own, lanes in front of them, a database, and the runtimes.

mod config;
mod runtime;
mod servers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex as Plain};

use anyhow::Context as _;
use avouch_runtime::schema;
use avouch_tests::database::SHARDS;
use avouch_tests::scratch;
use tokio::sync::Mutex;
use tokio_postgres::Client;

pub use self::runtime::{RIGHT_TIME, Runtime, set_clock};
pub use self::servers::{Broker, Database, connect};
use crate::disk::Disk;
use crate::proxy::{Protocol, Proxy};
use crate::schedule::{CLOCKED, Lane, RUNTIMES};

/// The stream of the run.
pub const STREAM: &str = "CHAOS";
/// In Postgres.
const NAME: &str = "chaos";

/// Everything that faults can reach, each part behind a lock of its own: a part has one fault at a time.
pub struct Stage {
    pub postgres: Mutex<Database>,
    pub nats: Mutex<Broker>,
    pub runtimes: [Mutex<Runtime>; RUNTIMES],
    /// Postgres's and nats-server's, outside of their locks: a server waits for its disk.
    pub disks: (Option<Arc<Disk>>, Option<Arc<Disk>>),
    lanes: [Proxy; 5],
    postgres_port: u16,
    nats_port: u16,
    /// The clock of one of the runtimes; none if it cannot be moved.
    pub clock: Option<PathBuf>,
    /// What happened that the checker must know of.
    pub notes: Plain<Vec<String>>,
    dir: PathBuf,
}

impl Stage {
    /// Servers, schema, checker, lanes, and the runtimes at work.
    pub async fn set() -> anyhow::Result<Self> {
        let dir = scratch::dir("chaos");
        let (postgres, nats) = (Database::start().await?, Broker::start().await?);
        let (postgres_port, nats_port) = (postgres.server.port(), nats.server.port());
        install(&url(postgres_port, "postgres", "postgres"), &url(postgres_port, "postgres", NAME)).await?;
        let lanes = [
            Proxy::start(Protocol::Postgres, postgres_port).await?,
            Proxy::start(Protocol::Nats, nats_port).await?,
            Proxy::start(Protocol::Postgres, postgres_port).await?,
            Proxy::start(Protocol::Postgres, postgres_port).await?,
            Proxy::start(Protocol::Nats, nats_port).await?,
        ];
        let checker = url(postgres_port, "checker", NAME);
        let plain = config::text(&url(postgres_port, "postgres", NAME), &nats_url(nats_port), &checker);
        runtime::deploy(&dir, &plain).await?;
        let text = config::text(&url(lanes[0].port(), "postgres", NAME), &nats_url(lanes[1].port()), &checker);
        let clock = runtime::clock(&dir)?;
        let mut runtimes = Vec::new();
        for slot in 0..RUNTIMES {
            runtimes.push(Mutex::new(Runtime::start(&text, clock.as_deref().filter(|_| slot == CLOCKED)).await));
        }
        let runtimes = runtimes.try_into().ok().context("there are so many runtimes")?;
        let disks = (postgres.disk.clone(), nats.disk.clone());
        let (postgres, nats, notes) = (Mutex::new(postgres), Mutex::new(nats), Plain::default());
        Ok(Self { postgres, nats, runtimes, disks, lanes, postgres_port, nats_port, clock, notes, dir })
    }

    /// The connections of these.
    pub fn lane(&self, lane: Lane) -> &Proxy {
        let at = match lane {
            Lane::RuntimesPostgres => 0,
            Lane::RuntimesNats => 1,
            Lane::Producers => 2,
            Lane::ConsumersPostgres => 3,
            Lane::ConsumersNats => 4,
        };
        &self.lanes[at]
    }

    /// All of them.
    pub fn lanes(&self) -> &[Proxy] {
        &self.lanes
    }

    /// The database over a lane.
    pub fn database_url(&self, lane: Lane) -> String {
        url(self.lane(lane).port(), "postgres", NAME)
    }

    /// The broker over a lane.
    pub fn nats_url(&self, lane: Lane) -> String {
        nats_url(self.lane(lane).port())
    }

    /// The broker itself.
    pub fn direct_nats_url(&self) -> String {
        nats_url(self.nats_port)
    }

    /// A connection that no lane lies before. Only a server that is away ends it.
    pub async fn direct(&self) -> anyhow::Result<Client> {
        connect(&url(self.postgres_port, "postgres", NAME)).await
    }

    /// Something that must not happen, or that the reader of the report should know.
    pub fn note(&self, text: String) {
        println!("  ! {text}");
        self.notes.lock().expect("nobody panics with the notes").push(text);
    }

    /// For files of the run that nobody needs afterwards.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn url(port: u16, user: &str, database: &str) -> String {
    format!("postgres://{user}@127.0.0.1:{port}/{database}")
}

fn nats_url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

/// Avouch's schema, the shop's, and the rig's own witnesses.
async fn install(admin: &str, url: &str) -> anyhow::Result<()> {
    connect(admin).await?.batch_execute(&format!("create database {NAME}")).await?;
    schema::install(url, SHARDS).await?;
    connect(url).await?.batch_execute(include_str!("stage/rig.sql")).await.context("the rig's tables can be made")
}
