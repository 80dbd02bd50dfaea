//! `avouch plugin …`: look at plugins, try them in the production engine, deploy them, roll back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use super::operator::Form;
use super::tell::{self, code, escape};
use super::{Common, build, cases, deploy, deployed};
use crate::app;
use crate::rules::manifest::Grant;
use crate::rules::{File, Grants, Plugin};

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
        /// A JSON file: a list of {"transaction": {…}, "expect": "commit"}, of {"delivery": {…}, "expect": "shaped"} or of
        /// {"delivery": {…}, "response": {…}, "expect": "delivered"}
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
    List {
        /// At most so many
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// Show a plugin: what answers to its name, what it may use, and the versions before
    Show {
        /// The plugin's name
        name: String,
    },
    /// Go back to what answered before the current version was deployed first, or to the version given
    Rollback {
        /// The plugin's name
        name: String,
        /// A version that was deployed before, or how its digest begins
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
        Command::List { limit } => deployed::list(&common.operator()?, limit).await,
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
        !matches!(self, Self::New { .. } | Self::Build { .. })
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

/// What a plugin's file is, and what it asks for.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    name: &'a str,
    version: &'a str,
    description: &'a str,
    bytes: usize,
    digest: &'a str,
    /// Bindings that it must be granted.
    needs: Vec<String>,
    /// Settings and their defaults.
    settings: &'a BTreeMap<String, String>,
    /// What its rules are for.
    does: Vec<&'static str>,
}

/// What was asked, and what came of it.
#[derive(Debug, Serialize)]
struct Tested {
    cases: Vec<cases::Tried>,
    failed: usize,
}

async fn check(common: &Common, path: PathBuf) -> anyhow::Result<ExitCode> {
    let mut config = common.load()?;
    let file = read(&path, config.rules.file_bytes_max)?;
    let manifest = &file.manifest;
    // As if every binding were there: nothing is connected to.
    config.binding = stand_ins(&manifest.requests())?;
    let grants = Grants { bindings: manifest.requests(), settings: BTreeMap::new() };
    let plugin = app::rules(&config)?.load(&file, &grants).await.inspect_err(|_| {
        if common.form() == Form::Text {
            print!("{}", described(&file));
        }
    })?;
    let checked = Checked {
        name: &manifest.name,
        version: &manifest.version,
        description: &manifest.description,
        bytes: file.bytes.len(),
        digest: &file.digest,
        needs: manifest.requests().iter().map(ToString::to_string).collect(),
        settings: &manifest.config,
        does: abilities(&plugin),
    };
    common
        .form()
        .tell(&checked, || format!("{}It compiles and links; it {}.\n", described(&file), sentence(&checked.does)))?;
    Ok(ExitCode::SUCCESS)
}

fn described(file: &File) -> String {
    let manifest = &file.manifest;
    let mut text =
        format!("{} {}: {} bytes, sha256 {}\n", manifest.name, manifest.version, file.bytes.len(), file.digest);
    if !manifest.description.is_empty() {
        text += &format!("  {}\n", escape(&manifest.description));
    }
    for grant in manifest.requests() {
        text += &format!("  needs --grant {grant}\n");
    }
    for (key, default) in &manifest.config {
        text += &format!("  setting {key}, by default {default:?}\n");
    }
    text
}

/// What its rules are for, as one would say it.
fn abilities(plugin: &Plugin) -> Vec<&'static str> {
    let all = [
        (plugin.answers_for_transactions(), "answers for transactions"),
        (plugin.recognises_repeated_work(), "recognises repeated work"),
        (plugin.tells_outside_parties(), "tells outside parties"),
    ];
    all.into_iter().filter(|(is_there, _)| *is_there).map(|(_, what)| what).collect()
}

fn sentence(has: &[&str]) -> String {
    match has {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => has.concat(),
    }
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
    let cases = cases::read(&text).with_context(|| format!("{}", cases.display()))?;
    let rules = app::rules(&config)?;
    let plugin = rules.load(&file, &allowed.read()?).await?;
    let mut tested = Tested { cases: Vec::new(), failed: 0 };
    for case in &cases {
        let tried = case.try_on(&rules, &plugin).await;
        if common.form() == Form::Text {
            tell::text(&tried.told())?;
        }
        tested.failed += usize::from(!tried.is_fine);
        tested.cases.push(tried);
    }
    if common.form() == Form::Json {
        tell::json(&tested)?;
    }
    Ok(code(tested.failed == 0))
}
