//! `avouch plugin …`: look at plugins, try them in the production engine, deploy them, roll back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Deserialize;

use super::tell::escape;
use super::{Common, build, deploy, deployed};
use crate::app;
use crate::rules::manifest::Grant;
use crate::rules::{File, Grants, Message, Plugin, Rules, Transaction, Verdict};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a crate that builds and passes its test
    New {
        /// Its name, and what transactions call it
        name: String,
        /// Where [default: ./NAME]
        #[arg(long)]
        dir: Option<PathBuf>,
        /// The SDK's sources, instead of its published version
        #[arg(long)]
        sdk: Option<PathBuf>,
    },
    /// Compile a crate to a .wasm file
    Build {
        /// The crate, or a workspace
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Only these packages of the workspace
        #[arg(short, long = "package")]
        packages: Vec<String>,
        /// The crate's profile
        #[arg(long, default_value = "release")]
        profile: String,
        /// Where cargo puts what it makes
        #[arg(long)]
        target_dir: Option<PathBuf>,
    },
    /// Compile a plugin's file and say what it is and what it asks for
    Check {
        /// The .wasm file
        file: PathBuf,
    },
    /// Ask a plugin's file in the production engine, with the configured bindings
    Test {
        /// The .wasm file
        file: PathBuf,
        /// A JSON file: a list of {"transaction": {…}, "expect": "commit"}
        #[arg(long)]
        cases: PathBuf,
        #[command(flatten)]
        allowed: Allowed,
    },
    /// Store a plugin in the database: every instance follows at once
    Deploy {
        /// The .wasm file
        file: PathBuf,
        #[command(flatten)]
        allowed: Allowed,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// List what answers to each name, and the versions before
    List,
    /// Show a plugin: what answers to its name, what it may use, and the versions before
    Show {
        /// The plugin's name
        name: String,
    },
    /// Go back to the version before, or to the one given
    Rollback {
        /// The plugin's name
        name: String,
        /// The digest of a version that was deployed before, or how it begins
        #[arg(long)]
        to: Option<String>,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let nobody answer to a name any more
    Remove {
        /// The plugin's name
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show what plugins said, and why they gave no answer, on all instances
    Logs {
        /// Only this plugin
        name: Option<String>,
        /// So many of the newest lines
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
        /// Go on with new lines
        #[arg(short, long)]
        follow: bool,
    },
}

#[derive(clap::Args, Debug)]
pub struct Allowed {
    /// A binding that it may use: sql:orders, http:payments, nats:stock
    #[arg(long = "grant", value_name = "KIND:NAME")]
    grants: Vec<Grant>,
    /// A setting of its manifest: grace_s=30
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    name: String,
    transaction: CaseTransaction,
    /// `commit`, `rollback`, `in-progress`, `unknown` or `error`.
    expect: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseTransaction {
    reference: Option<String>,
    #[serde(default)]
    age_ms: u64,
    #[serde(default)]
    attempt: u32,
    #[serde(default)]
    messages: Vec<CaseMessage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseMessage {
    topic: String,
    key: Option<String>,
    payload: serde_json::Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

pub async fn run(common: &Common, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::New { name, dir, sdk } => build::new(&name, dir, sdk).map(|()| ExitCode::SUCCESS),
        Command::Build { dir, packages, profile, target_dir } => {
            build::build(&dir, &packages, &profile, target_dir.as_deref()).map(|()| ExitCode::SUCCESS)
        }
        Command::Check { file } => check(common, file).await,
        Command::Test { file, cases, allowed } => test(common, file, cases, allowed).await,
        Command::Deploy { file, allowed, reason } => {
            let config = common.load()?;
            let plugin = read(&file, config.rules.file_bytes_max)?;
            let grants = allowed.read()?;
            deploy::deploy(&config, &common.operator()?, &plugin, &grants, reason.as_deref()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::List => deployed::list(&common.operator()?).await,
        Command::Show { name } => deployed::show(&common.operator()?, &name).await,
        Command::Rollback { name, to, reason } => {
            deploy::roll_back(&common.operator()?, &name, to.as_deref(), reason.as_deref()).await
        }
        Command::Remove { name, reason } => deploy::remove(&common.operator()?, &name, reason.as_deref()).await,
        Command::Logs { name, limit, follow } => {
            deployed::logs(&common.operator()?, name.as_deref(), limit, follow).await
        }
    }
}

impl Command {
    /// Whether it tells programs what it found or did.
    pub fn has_documents(&self) -> bool {
        !matches!(self, Self::New { .. } | Self::Build { .. } | Self::Check { .. } | Self::Test { .. })
    }
}

impl Allowed {
    fn read(self) -> anyhow::Result<Grants> {
        let setting = |text: String| {
            let (key, value) = text.split_once('=').with_context(|| format!("--set {text}: write KEY=VALUE"))?;
            Ok::<_, anyhow::Error>((key.to_owned(), value.to_owned()))
        };
        let settings = self.settings.into_iter().map(setting).collect::<Result<_, _>>()?;
        Ok(Grants { bindings: self.grants.into_iter().collect(), settings })
    }
}

pub fn read(path: &PathBuf, bytes_max: usize) -> anyhow::Result<File> {
    let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    File::read(bytes, bytes_max).with_context(|| format!("{}", path.display()))
}

async fn check(common: &Common, path: PathBuf) -> anyhow::Result<ExitCode> {
    let mut config = common.load()?;
    let file = read(&path, config.rules.file_bytes_max)?;
    let manifest = &file.manifest;
    println!("{} {}: {} bytes, sha256 {}", manifest.name, manifest.version, file.bytes.len(), file.digest);
    if !manifest.description.is_empty() {
        println!("  {}", escape(&manifest.description));
    }
    for grant in manifest.requests() {
        println!("  needs --grant {grant}");
    }
    for (key, default) in &manifest.config {
        println!("  setting {key}, by default {default:?}");
    }
    // As if every binding were there: nothing is connected to.
    config.binding = stand_ins(&manifest.requests())?;
    let grants = Grants { bindings: manifest.requests(), settings: BTreeMap::new() };
    let plugin = app::rules(&config)?.load(&file, &grants).await?;
    println!(
        "It compiles and links{}.",
        if plugin.answers_for_transactions() { "; it answers for transactions" } else { "" }
    );
    Ok(ExitCode::SUCCESS)
}

fn stand_ins(requests: &BTreeSet<Grant>) -> anyhow::Result<crate::rules::Bindings> {
    use crate::rules::manifest::Kind;
    let text: String = requests
        .iter()
        .map(|g| match g.kind {
            Kind::Sql => format!("[sql.\"{}\"]\nurl = \"postgres://localhost\"\n", g.binding),
            Kind::Http => format!("[http.\"{}\"]\norigin = \"http://localhost\"\n", g.binding),
            Kind::Nats => format!("[nats.\"{}\"]\n", g.binding),
        })
        .collect();
    Ok(toml::from_str(&text)?)
}

async fn test(common: &Common, path: PathBuf, cases: PathBuf, allowed: Allowed) -> anyhow::Result<ExitCode> {
    let config = common.load()?;
    let file = read(&path, config.rules.file_bytes_max)?;
    let text = std::fs::read_to_string(&cases).with_context(|| format!("{}", cases.display()))?;
    let cases: Vec<Case> = serde_json::from_str(&text).with_context(|| format!("{}", cases.display()))?;
    if cases.is_empty() {
        bail!("there is no case in it: nothing was tested");
    }
    let rules = app::rules(&config)?;
    let plugin = rules.load(&file, &allowed.read()?).await?;
    let mut failed = 0;
    for (i, case) in cases.into_iter().enumerate() {
        failed += usize::from(!judge(&rules, &plugin, i, case).await);
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks, prints what was answered, and returns whether it is what was expected.
async fn judge(rules: &Rules, plugin: &Plugin, i: usize, case: Case) -> bool {
    let name = if case.name.is_empty() { format!("case {}", i + 1) } else { case.name };
    let answer = rules.ask(plugin, &transaction(plugin.name(), case.transaction)).await;
    let (word, text) = match &answer.verdict {
        Ok(Verdict::Commit) => ("commit", String::new()),
        Ok(Verdict::Rollback(why)) => ("rollback", why.clone()),
        Ok(Verdict::InProgress(after)) => ("in-progress", after.map_or_else(String::new, |ms| format!("{ms} ms"))),
        Ok(Verdict::Unknown(after)) => ("unknown", after.map_or_else(String::new, |ms| format!("{ms} ms"))),
        Err(fault) => ("error", fault.to_string()),
    };
    let fine = word == case.expect;
    let mark = if fine { "ok  " } else { "FAIL" };
    let wanted = if fine { String::new() } else { format!(", expected {}", case.expect) };
    println!("{mark} {name}: {word} {} ({} us){wanted}", escape(&text), answer.took.as_micros());
    for line in &answer.log {
        println!("       {} {}", line.level, escape(&line.text));
    }
    fine
}

fn transaction(checker: &str, case: CaseTransaction) -> Transaction {
    let message = |m: CaseMessage| {
        let payload = match m.payload {
            serde_json::Value::String(text) => text.into_bytes(),
            other => other.to_string().into_bytes(),
        };
        Message {
            id: uuid::Uuid::now_v7().to_string(),
            topic: m.topic,
            key: m.key,
            payload_bytes: u64::try_from(payload.len()).unwrap_or(u64::MAX),
            payload,
            headers: m.headers.into_iter().collect(),
            created_at_ms: 0,
            generation: 0,
        }
    };
    Transaction {
        id: uuid::Uuid::now_v7().to_string(),
        checker: checker.to_owned(),
        reference: case.reference,
        age_ms: case.age_ms,
        attempt: case.attempt,
        message_count: u32::try_from(case.messages.len()).unwrap_or(u32::MAX),
        messages: case.messages.into_iter().map(message).collect(),
    }
}
