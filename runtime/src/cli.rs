//! The command line: what can be asked of `avouch`.

mod operator;
mod table;
mod tell;
mod times;

mod bulk;
mod drain;
mod inspect;
mod overview;
mod schema;

mod history;
mod messages;

mod dead;
mod redo;
mod tx;

mod consumers;
mod endpoints;
mod holds;
mod inbox;

mod alarm;
mod build;
mod cases;
mod deploy;
mod deployed;
mod doctor;
mod plugin;
mod session;
mod token;

mod reference;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::operator::{Form, Operator};
use crate::config::Config;
use crate::secret::Secret;
use crate::store::{self, Store, connect::Target};
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
    /// Tell programs: one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
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
    /// Explain the configuration
    #[command(subcommand)]
    Config(inspect::ConfigCommand),
    /// Look at the whole installation: what is wrong, what it means, what to do
    Doctor(doctor::Options),
    /// Make, list and revoke tokens for the API and the console
    #[command(subcommand)]
    Token(token::Command),
    /// List who is logged in at the console, and end their sessions
    #[command(subcommand)]
    Session(session::Command),
    /// Wait until nothing is ready to be sent
    Drain {
        /// For so long at most: 90s, 15m, 2h
        #[arg(long, default_value = "5m", value_parser = times::span_of)]
        timeout: Duration,
    },
    /// Show lag, owners, rates and what is held
    Status,
    /// List the running processes
    Instances,
    /// List how it went, every ten seconds
    Samples {
        /// In the last so many minutes
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..))]
        minutes: i32,
    },
    /// List what is held: paused topics, keys and consumers, and parked keys
    Holds {
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// List what people did, the newest first
    Audit {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
        /// Only what was before the entry with this id
        #[arg(long)]
        before: Option<i64>,
    },
    /// Find messages, and do something with them
    #[command(subcommand)]
    Messages(messages::Command),
    /// List dead messages, or do something with them
    Dead(dead::Dead),
    /// Send dead messages again, as their next generation
    Resend(redo::Which),
    /// Give messages up that were not sent, or are dead
    Discard(redo::Which),
    /// Send messages to one consumer once more, also what it has finished
    Replay(redo::Replay),
    /// Hold back a topic, a key or a consumer: messages wait, in order
    Pause {
        #[command(flatten)]
        what: holds::What,
        /// Why, for `avouch status` and the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a paused topic, key or consumer go on
    Resume {
        #[command(flatten)]
        what: holds::What,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show transactions, and decide those in doubt
    #[command(subcommand)]
    Tx(tx::Command),
    /// Show consumers, pause or remove one
    #[command(subcommand, visible_alias = "consumer")]
    Consumers(consumers::Command),
    /// Outside parties that are told by HTTP: make them, look what they were told, tell them again
    #[command(subcommand, visible_alias = "endpoints")]
    Endpoint(endpoints::Command),
    /// Show what consumers have recorded, and decide what is parked
    #[command(subcommand)]
    Inbox(inbox::Command),
    /// Build, test and deploy plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Try the sinks of alarms
    #[command(subcommand)]
    Alarm(alarm::Command),
    /// Print what makes a shell complete these commands
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, or write those of all commands
    Man {
        /// Into this directory
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Print the page of the documentation instead
        #[arg(long, conflicts_with = "dir")]
        markdown: bool,
    },
    #[command(name = rules::COMPILE_COMMAND, hide = true)]
    CompilePlugin,
}

/// Runs the command; errors go to standard error, in one line each.
pub fn main() -> ExitCode {
    let matches = reference::grouped(command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|rt| rt.block_on(dispatch(cli)));
    result.unwrap_or_else(|e| tell::failed(&e))
}

/// All that can be asked.
fn command() -> clap::Command {
    Cli::command()
}

/// The page of the documentation that says it.
pub fn markdown() -> String {
    reference::markdown(command())
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let (common, command) = (cli.common, cli.command);
    if common.json && !command.has_documents() {
        return tell::usage("--json: this command has no document to tell");
    }
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Run => run(&common).await.map(done),
        Command::Dev(options) => develop(&common, options).await.map(done),
        Command::CompilePlugin => rules::compile_stdin().map(done),
        Command::Config(inspect::ConfigCommand::Check) => inspect::config(&common.load()?, common.form()).map(done),
        Command::Completions { shell } => reference::completions(self::command(), shell).map(done),
        Command::Man { markdown: true, .. } => tell::text(&markdown()).map(done),
        Command::Man { dir, .. } => reference::man(self::command(), dir.as_deref()).map(done),
        Command::Alarm(alarm::Command::Test { name }) => {
            let config = common.load()?;
            alarm::test(common.form(), &config.alarm, name, &app::instance_name(&config)).await
        }
        Command::Schema(command) => schema::run(|| common.target(), common.form(), command).await,
        Command::Plugin(command) => plugin::run(&common, command).await,
        Command::Doctor(options) => Ok(doctor::run(&common, &options).await),
        Command::Token(command) => token::run(&common.operator()?, command).await,
        Command::Session(command) => session::run(&common.operator()?, command).await,
        Command::Drain { timeout } => drain::drain(&common.operator()?, timeout).await,
        Command::Status => inspect::status(&common.operator()?).await.map(done),
        Command::Instances => overview::instances(&common.operator()?).await.map(done),
        Command::Samples { minutes } => overview::samples(&common.operator()?, minutes).await.map(done),
        Command::Audit { limit, before } => overview::audit(&common.operator()?, before, limit).await.map(done),
        Command::Holds { limit } => holds::list(&common.operator()?, limit).await,
        Command::Pause { what, reason } => holds::pause(&common.operator()?, &what, reason.as_deref()).await,
        Command::Resume { what, reason } => holds::resume(&common.operator()?, &what, reason.as_deref()).await,
        Command::Messages(command) => messages::run(&common.operator()?, command).await,
        Command::Dead(dead) => dead::run(&common.operator()?, dead).await,
        Command::Resend(which) => redo::resend(&common.operator()?, which).await,
        Command::Discard(which) => redo::discard(&common.operator()?, which).await,
        Command::Replay(what) => redo::replay(&common.operator()?, what).await,
        Command::Tx(command) => tx::run(&common.operator()?, command).await,
        Command::Consumers(command) => consumers::run(&common.load()?, &common.operator()?, command).await,
        Command::Endpoint(command) => {
            endpoints::run(&common.load()?, &common.source, &common.operator()?, command).await
        }
        Command::Inbox(command) => inbox::run(&common.operator()?, command).await,
    }
}

async fn run(common: &Common) -> anyhow::Result<()> {
    let config = common.load()?;
    logs::start(&config.log)?;
    exporter::start(&config.metrics)?;
    app::run(config, stop_on_signal()?, || {}).await
}

async fn develop(common: &Common, options: dev::Options) -> anyhow::Result<()> {
    let mut config = common.load()?;
    if common.log.is_none() && config.log.filter == logs::Config::default().filter {
        config.log.form = logs::Form::Human;
    }
    logs::start(&config.log)?;
    exporter::start(&config.metrics)?;
    let (stop, plugins) = (stop_on_signal()?, options.plugins.clone());
    let watched = stop.clone();
    let watch = |owner: Config| {
        for plugin in plugins {
            match operator_of(&owner, "main", Form::Text) {
                Ok(operator) => {
                    drop(tokio::spawn(deploy::watch(owner.clone(), operator, plugin, watched.clone())));
                }
                Err(e) => tracing::error!(error = %e, "plugins are not watched"),
            }
        }
    };
    dev::run(config, options, stop, watch).await
}

impl Command {
    /// Whether it tells programs what it found or did.
    fn has_documents(&self) -> bool {
        match self {
            Self::Run | Self::Dev(_) | Self::CompilePlugin => false,
            Self::Completions { .. } | Self::Man { .. } | Self::Schema(schema::Command::Print) => false,
            Self::Plugin(command) => command.has_documents(),
            _ => true,
        }
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

    fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }

    /// Whoever asks, on the database of the chosen source.
    fn operator(&self) -> anyhow::Result<Operator> {
        operator_of(&self.load()?, &self.source, self.form())
    }

    /// The database of the chosen source.
    fn target(&self) -> anyhow::Result<Target> {
        let config = self.load()?;
        let source = source_of(&config, &self.source)?;
        let timeout = Duration::from_millis(source.connect_timeout_ms);
        Ok(Target::new(&source.url, &source.tls, APPLICATION, timeout)?)
    }
}

/// What the database is told of us.
const APPLICATION: &str = "avouch cli";

fn operator_of(config: &Config, source: &str, form: Form) -> anyhow::Result<Operator> {
    let store = Store::new(source_of(config, source)?, app::scope(config, source), APPLICATION, app::plans(config))?;
    Ok(Operator::new(store, form))
}

fn source_of<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a store::Config> {
    config.source.get(name).ok_or_else(|| {
        anyhow::anyhow!(
            "source {name} is not configured: set [source.{name}] url in the file, AVOUCH_SOURCE__{}__URL, or --database-url",
            name.to_uppercase()
        )
    })
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
