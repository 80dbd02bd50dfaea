//! `avouch dev`: a private Postgres and a private nats-server beside the runtime, on loopback, in `.avouch/`.

pub mod log;
pub mod nats_server;
pub mod postgres;
pub mod process;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;

use self::nats_server::NatsServer;
use self::postgres::Postgres;
use self::process::Error;
use crate::config::Config;
use crate::secret::Secret;
use crate::{admin, app, schema, store};

/// `avouch dev`'s own options.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where both servers keep their data
    #[arg(long, default_value = ".avouch/dev")]
    pub dir: PathBuf,
    /// Port of the private Postgres; another free one if it is taken, or if 0
    #[arg(long, default_value_t = 15432)]
    pub postgres_port: u16,
    /// Port of the private nats-server; another free one if it is taken, or if 0
    #[arg(long, default_value_t = 14222)]
    pub nats_port: u16,
    /// A plugin's .wasm file: deployed with all that it asks for, and again whenever it changes
    #[arg(long = "plugin", value_name = "FILE")]
    pub plugins: Vec<PathBuf>,
}

/// The two servers, ready to be used.
pub struct Servers {
    /// Postgres, with database `avouch` and the schema in it.
    pub postgres: Postgres,
    /// nats-server with JetStream.
    pub nats: NatsServer,
}

/// The database of the private Postgres.
const DATABASE: &str = "avouch";
/// The user as which the runtime connects: a member of `avouch_runtime` and nothing more.
const RUNTIME_USER: &str = "avouch_relay";

impl Servers {
    /// Starts both, makes the database and installs the schema. Data of an earlier run is kept.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let postgres = on_port(options.postgres_port, async |port| {
            Postgres::start(postgres::Options { dir: options.dir.join("postgres"), port, settings: Vec::new() }).await
        })
        .await?;
        let nats = on_port(options.nats_port, async |port| {
            let dir = options.dir.join("nats");
            NatsServer::start(nats_server::Options { dir, port, ..nats_server::Options::default() }).await
        })
        .await?;
        let servers = Self { postgres, nats };
        servers.prepare().await.context("preparing the private database")?;
        Ok(servers)
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        let (client, connection) =
            tokio_postgres::connect(&self.postgres.url("postgres"), tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        if client.query_opt("select from pg_database where datname = $1", &[&DATABASE]).await?.is_none() {
            client.batch_execute(&format!("create database {DATABASE}")).await?;
        }
        schema::install(&self.database_url(), 16).await?;
        if client.query_opt("select from pg_roles where rolname = $1", &[&RUNTIME_USER]).await?.is_none() {
            client.batch_execute(&format!("create role {RUNTIME_USER} login in role avouch_runtime")).await?;
        }
        Ok(())
    }

    /// For services and psql: the owner of everything.
    pub fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// For the runtime: least privileges.
    pub fn runtime_url(&self) -> String {
        self.database_url().replacen("postgres@", &format!("{RUNTIME_USER}@"), 1)
    }

    /// For NATS clients.
    pub fn nats_url(&self) -> String {
        self.nats.url()
    }

    /// A configuration that uses these servers.
    pub fn configure(&self, mut config: Config) -> Config {
        config.source.insert("main".into(), store::Config::of(Secret::new(self.runtime_url())));
        config.nats.url = Secret::new(self.nats_url());
        config
    }

    /// Stops both.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let (postgres, nats) = (self.postgres.stop().await, self.nats.stop().await);
        postgres?;
        Ok(nats?)
    }
}

/// Runs everything until `stop`. `ready` is given the configuration, as the owner of the database sees it, when all works.
pub async fn run(
    config: Config,
    options: Options,
    stop: CancellationToken,
    ready: impl FnOnce(Config),
) -> anyhow::Result<()> {
    let mut servers = Servers::start(&options).await?;
    let config = servers.configure(config);
    let (database, nats) = (servers.database_url(), servers.nats_url());
    let mut owner = config.clone();
    owner.source.insert("main".into(), store::Config::of(Secret::new(&database)));
    let (listener, config) = with_console(config)?;
    let console = listener.local_addr().context("the console's address")?;
    let result = app::run_on(Some(listener), config, stop, || {
        print_welcome(&database, &nats, &console.to_string());
        ready(owner);
    })
    .await;
    servers.stop().await?;
    result
}

/// The console as configured; else on its usual port, or on another one if that is taken, for whoever is on this machine.
fn with_console(mut config: Config) -> Result<(TcpListener, Config), admin::Error> {
    if let Some(listen) = config.admin.listen {
        return Ok((admin::listen(listen)?, config));
    }
    config.admin = admin::Config { auth: admin::Auth::None, public_url: None, oidc: None, ..config.admin };
    let anywhere = SocketAddr::new(admin::DEV_LISTEN.ip(), 0);
    Ok((admin::listen(admin::DEV_LISTEN).or_else(|_| admin::listen(anywhere))?, config))
}

fn print_welcome(database: &str, nats: &str, console: &str) {
    println!(
        "\nAvouch runs, with a Postgres and a nats-server of its own. Ctrl-C stops all three; the data stays in .avouch/\n\
         \n  insert a row      psql {database} -c \"insert into avouch.outbox (topic, key, payload) values ('orders.created', '42', '{{\\\"id\\\":42}}')\"\
         \n  watch the stream  nats --server {nats} sub 'msg.>'      (or any NATS client)\
         \n  see how it goes   avouch --database-url {database} status\
         \n  in a browser      http://{console}\n"
    );
}

/// Starts a server on the wanted port; on another free one if somebody has it, or takes it in the meantime.
async fn on_port<T>(wanted: u16, start: impl AsyncFn(Option<u16>) -> Result<T, Error>) -> Result<T, Error> {
    if wanted != 0 && std::net::TcpListener::bind(("127.0.0.1", wanted)).is_ok() {
        match start(Some(wanted)).await {
            Err(Error::PortTaken { .. }) => {}
            result => return result,
        }
    }
    start(None).await
}
