//! The command line: what can be asked of `avouch`.

mod alarm;
mod build;
mod consumer;
mod dead;
mod deploy;
mod doctor;
mod inspect;
mod operate;
mod plugin;
mod schema;
mod token;
mod tx;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::secret::Secret;
use crate::store::{self, Plans, Store, connect::Target};
use crate::{app, dev, exporter, logs, rules};

/// Committed outbox rows reach NATS JetStream: in order per key, at least once, never lost.
#[derive(Debug, Parser)]
#[command(name = "avouch", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Common {
    /// The configuration file [default: avouch.toml, if it is there]
    #[arg(long, global = true, env = "AVOUCH_CONFIG")]
    config: Option<PathBuf>,
    /// Overrides the URL of the source: postgres://user:password@host:5432/database
    #[arg(long, global = true)]
    database_url: Option<String>,
    /// Overrides nats.url: nats://host:4222
    #[arg(long, global = true)]
    nats_url: Option<String>,
    /// Overrides log.filter: info, debug, avouch_runtime=trace
    #[arg(long, global = true)]
    log: Option<String>,
    /// Which source, if several are configured
    #[arg(long, global = true, default_value = "main")]
    source: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Relay rows until SIGTERM or Ctrl-C
    Run,
    /// Run a private Postgres, a private nats-server and the runtime, all in .avouch/
    Dev(dev::Options),
    /// Install the schema, or check it
    #[command(subcommand)]
    Schema(schema::Command),
    /// Build, test and deploy plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Decide transactions in doubt
    #[command(subcommand)]
    Tx(tx::Command),
    /// Make, list and revoke tokens for the API and the console
    #[command(subcommand)]
    Token(token::Command),
    /// Try the sinks of alarms
    #[command(subcommand)]
    Alarm(alarm::Command),
    #[command(name = rules::COMPILE_COMMAND, hide = true)]
    CompilePlugin,
    /// Explain the configuration
    #[command(subcommand)]
    Config(inspect::ConfigCommand),
    /// Look at the whole installation: what is wrong, what it means, what to do
    Doctor(doctor::Options),
    /// Show lag, owners, rates and what is held
    Status {
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Hold back a topic, a key or a consumer: messages wait, in order
    Pause {
        #[command(flatten)]
        what: operate::What,
        /// Why, for `avouch status` and the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a paused topic, key or consumer go on
    Resume {
        #[command(flatten)]
        what: operate::What,
    },
    /// List consumers, or remove one
    #[command(subcommand)]
    Consumer(consumer::Command),
    /// List dead messages, oldest first
    Dead {
        #[command(flatten)]
        group: dead::Group,
        /// Count them by consumer, topic and reason
        #[arg(long)]
        groups: bool,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// Send dead messages again, as their next generation
    Resend {
        #[command(flatten)]
        which: dead::Which,
    },
    /// Send messages to one consumer once more, also what it has finished
    Replay(dead::Replay),
    /// Give messages up that were not sent, or are dead
    Discard {
        #[command(flatten)]
        which: dead::Which,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Runs the command; errors go to standard error, in one line each.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|rt| rt.block_on(dispatch(cli)));
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("avouch: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let common = cli.common;
    let done = |()| ExitCode::SUCCESS;
    match cli.command {
        Command::Run => {
            let config = common.load()?;
            logs::start(&config.log)?;
            exporter::start(&config.metrics)?;
            app::run(config, stop_on_signal()?, || {}).await.map(done)
        }
        Command::Dev(options) => {
            let mut config = common.load()?;
            if common.log.is_none() && config.log.filter == logs::Config::default().filter {
                config.log.form = logs::Form::Human;
            }
            logs::start(&config.log)?;
            exporter::start(&config.metrics)?;
            let (stop, plugins) = (stop_on_signal()?, options.plugins.clone());
            let watched = stop.clone();
            let watch = |owner: Config| match target_of(&owner, "main") {
                Ok(target) => plugins.into_iter().for_each(|plugin| {
                    tokio::spawn(deploy::watch(owner.clone(), target.clone(), plugin, watched.clone()));
                }),
                Err(e) => tracing::error!(error = %e, "plugins are not watched"),
            };
            dev::run(config, options, stop, watch).await.map(done)
        }
        Command::Plugin(command) => plugin::run(&common, command).await,
        Command::Tx(command) => tx::run(&common.target()?, command).await,
        Command::Token(command) => token::run(&common.store()?, command).await,
        Command::Alarm(alarm::Command::Test { name }) => {
            let config = common.load()?;
            alarm::test(&config.alarm, name, &app::instance_name(&config)).await
        }
        Command::CompilePlugin => rules::compile_stdin().map(done),
        Command::Schema(command) => schema::run(|| common.target(), command).await,
        Command::Config(inspect::ConfigCommand::Check) => inspect::config(&common.load()?).map(done),
        Command::Doctor(options) => Ok(doctor::run(&common, &options).await),
        Command::Status { json } => inspect::status(&common.target()?, json).await.map(done),
        Command::Pause { what, reason } => operate::pause(&common.target()?, &what, reason).await.map(done),
        Command::Resume { what } => operate::resume(&common.target()?, &what).await,
        Command::Consumer(command) => consumer::run(&common.load()?, &common.target()?, command).await,
        Command::Dead { group, groups: true, .. } => dead::groups(&common.target()?, &group).await.map(done),
        Command::Dead { group, limit, .. } => dead::list(&common.target()?, &group, limit).await.map(done),
        Command::Resend { which } => dead::resend(&common.target()?, &which).await,
        Command::Replay(what) => dead::replay(&common.target()?, &what).await,
        Command::Discard { which, reason } => dead::discard(&common.target()?, &which, reason).await,
    }
}

impl Common {
    fn load(&self) -> anyhow::Result<Config> {
        let here = PathBuf::from("avouch.toml");
        let file = self.config.clone().or_else(|| here.exists().then_some(here));
        let mut config = Config::load(file.as_deref())?;
        if let Some(url) = &self.database_url {
            let url = Secret::new(url);
            match config.source.get_mut(&self.source) {
                Some(source) => source.url = url,
                None => drop(config.source.insert(self.source.clone(), store::Config::of(url))),
            }
        }
        if let Some(url) = &self.nats_url {
            config.nats.url = Secret::new(url);
        }
        if let Some(filter) = &self.log {
            config.log.filter.clone_from(filter);
        }
        Ok(config)
    }

    /// What is asked of the chosen source.
    fn store(&self) -> anyhow::Result<Store> {
        let config = self.load()?;
        Ok(Store::new(source_of(&config, &self.source)?, "avouch cli", Plans::Free)?)
    }

    /// The database of the chosen source.
    fn target(&self) -> anyhow::Result<Target> {
        target_of(&self.load()?, &self.source)
    }
}

fn source_of<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a store::Config> {
    config.source.get(name).ok_or_else(|| {
        anyhow::anyhow!(
            "source {name} is not configured: set [source.{name}] url in the file, AVOUCH_SOURCE__{}__URL, or --database-url",
            name.to_uppercase()
        )
    })
}

fn target_of(config: &Config, name: &str) -> anyhow::Result<Target> {
    let source = source_of(config, name)?;
    let timeout = std::time::Duration::from_millis(source.connect_timeout_ms);
    Ok(Target::new(&source.url, &source.tls, "avouch cli", timeout)?)
}

/// Cancelled by SIGTERM and SIGINT. The second SIGINT ends the process the hard way.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: stopping"),
            _ = int.recv() => tracing::info!("stopping; Ctrl-C again to stop at once"),
        }
        cancel.cancel();
        int.recv().await;
        std::process::exit(130);
    });
    Ok(stop)
}
