//! The stage of a story with several services: a database and a role for each, one NATS, one runtime for all outboxes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use async_nats::jetstream;
use avouch_runtime::dev::nats_server::{self, NatsServer};
use avouch_runtime::dev::postgres::{self, Postgres};
use avouch_runtime::schema;

use crate::database::{connect, is_fresh};
use crate::home::Home;
use crate::processes::{Child, avouch_binary, deploy, run_avouch};
use crate::stream::{repeat_all, wait_for_consumers, wait_for_service, wait_for_stream};

/// The user as which the runtime connects: a member of `avouch_runtime` and nothing more.
const RUNTIME_USER: &str = "avouch_relay";
/// A story has few keys.
const SHARDS: u16 = 4;

/// Whether a service publishes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbox {
    /// Its database has the schema `avouch`, and its role is an `avouch_producer` and an `avouch_consumer`.
    With,
    /// It only consumes.
    Without,
}

/// Private servers and a runtime. All of it ends when this is dropped.
pub struct Stage {
    // In the order in which they are dropped: clients before servers, and the lock on the directory last.
    runtime: Child,
    nats: NatsServer,
    postgres: Postgres,
    config: PathBuf,
    home: Home,
    nats_client: async_nats::Client,
    jetstream: jetstream::Context,
    sources: Vec<String>,
}

impl Stage {
    /// Starts both servers on free ports, with nothing in them.
    pub async fn open(dir: &Path) -> anyhow::Result<Self> {
        avouch_binary()?;
        let home = Home::take(dir).await?;
        let postgres = fresh_postgres(&home).await?;
        let options = nats_server::Options { dir: home.dir.join("nats"), ..nats_server::Options::default() };
        let nats = NatsServer::start(options).await?;
        let nats_client = async_nats::connect(nats.url()).await.context("connecting to the private nats-server")?;
        let config = home.dir.join("avouch.toml");
        let runtime = Child::runtime(&home.dir, &config)?;
        let jetstream = jetstream::new(nats_client.clone());
        Ok(Self { runtime, nats, postgres, config, home, nats_client, jetstream, sources: Vec::new() })
    }

    /// A service's own database and login role, both of its name. `tables` are made as this role. Returns its URL.
    pub async fn service(&mut self, name: &str, outbox: Outbox, tables: &str) -> anyhow::Result<String> {
        let admin = connect(&self.postgres.url("postgres")).await?;
        admin.batch_execute(&format!("create role {name} login")).await?;
        admin.batch_execute(&format!("create database {name} owner {name}")).await?;
        if outbox == Outbox::With {
            schema::install(&self.url_of_owner(name), SHARDS).await?;
            let grant = format!("grant avouch_producer, avouch_consumer to {name}");
            connect(&self.url_of_owner(name)).await?.batch_execute(&grant).await?;
            self.sources.push(name.to_owned());
        }
        let url = self.url_as(name, name);
        connect(&url).await?.batch_execute(tables).await.with_context(|| format!("making the tables of {name}"))?;
        Ok(url)
    }

    /// Writes the configuration for all outboxes; `more` is its end.
    pub async fn configure(&self, more: &str) -> anyhow::Result<()> {
        let create = format!("create role {RUNTIME_USER} login in role avouch_runtime");
        connect(&self.postgres.url("postgres")).await?.batch_execute(&create).await?;
        let source = |name: &String| format!("[source.{name}]\nurl = \"{}\"\n", self.url_as(name, RUNTIME_USER));
        let sources: String = self.sources.iter().map(source).collect();
        let text = format!("{sources}[nats]\nurl = \"{}\"\n[log]\nform = \"human\"\n{more}", self.nats.url());
        fs::write(&self.config, text).with_context(|| format!("writing {}", self.config.display()))
    }

    /// Deploys a plugin of this repository; before the runtime is started, so that it can judge at once.
    pub async fn deploy(&self, plugin: &str, args: &[&str]) -> anyhow::Result<()> {
        deploy(&self.config, plugin, args).await
    }

    /// Runs another command of `avouch` with the same configuration. Returns what it says.
    pub async fn avouch(&self, args: &[&str]) -> anyhow::Result<String> {
        run_avouch(&self.config, args).await
    }

    /// Starts `avouch run`, and waits until it serves all outboxes and there is a stream to consume.
    pub async fn start_runtime(&mut self) -> anyhow::Result<()> {
        self.runtime.start().await?;
        tokio::select! {
            found = async {
                self.runtime.has_said("avouch runs").await;
                wait_for_stream(&self.jetstream).await
            } => found.map(drop),
            error = self.runtime.ended() => Err(error),
        }
    }

    /// Fails if the runtime has ended.
    pub fn check(&self) -> anyhow::Result<()> {
        self.runtime.check()
    }

    /// Waits until somebody answers on a subject; the request is empty.
    pub async fn wait_for_service(&self, subject: &str) -> anyhow::Result<()> {
        wait_for_service(&self.nats_client, subject).await
    }

    /// Waits until these durables have acknowledged all that is in the stream.
    pub async fn wait_for_consumers(&self, durables: &[&str]) -> anyhow::Result<()> {
        wait_for_consumers(&self.jetstream, durables).await
    }

    /// Has every message delivered once more, as if it were new to the broker. Returns how many there were.
    pub async fn repeat_all(&self) -> anyhow::Result<u64> {
        repeat_all(&self.jetstream).await
    }

    /// Stops everything, the runtime before its servers.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.runtime.stop().await?;
        self.nats.stop().await?;
        Ok(self.postgres.stop().await?)
    }

    /// For NATS clients.
    pub fn nats_url(&self) -> String {
        self.nats.url()
    }

    /// For whoever reads the books: the superuser.
    pub fn url_of_owner(&self, database: &str) -> String {
        self.postgres.url(database)
    }

    /// Where logs and data are.
    pub fn dir(&self) -> &Path {
        &self.home.dir
    }

    fn url_as(&self, database: &str, role: &str) -> String {
        self.postgres.url(database).replacen("postgres@", &format!("{role}@"), 1)
    }
}

async fn fresh_postgres(home: &Home) -> anyhow::Result<Postgres> {
    let options = postgres::Options { dir: home.dir.join("postgres"), port: None, settings: Vec::new() };
    let mut postgres = Postgres::start(options.clone()).await?;
    if is_fresh(&postgres.url("postgres")).await? {
        return Ok(postgres);
    }
    postgres.stop().await?;
    let data = postgres.dir();
    fs::remove_dir_all(data).with_context(|| format!("removing the last run's {}", data.display()))?;
    Ok(Postgres::start(options).await?)
}
