//! `avouch schema install|check`.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::bulk::spinner;
use super::operator::Form;
use super::tell;
use crate::schema::{self, Difference};
use crate::store::connect::Target;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install or upgrade; repeating it changes nothing
    Install {
        /// Hash buckets of keys, fixed by the first install: the most runtimes that can share the work
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
        shards: Option<u16>,
    },
    /// Say what differs from a fresh install, and how to mend it
    Check,
    /// Print the file, for other migration tools
    Print,
}

/// What programs are told.
#[derive(Debug, Serialize)]
struct Installed {
    action: &'static str,
    shards: u16,
    /// False if another number of shards was asked for: it is fixed by the first install.
    done: bool,
}

pub async fn run(
    target: impl FnOnce() -> anyhow::Result<Target>,
    form: Form,
    command: Command,
) -> anyhow::Result<ExitCode> {
    match command {
        Command::Install { shards } => install(&target()?, form, shards).await,
        Command::Check => check(&target()?, form).await,
        Command::Print => tell::text(schema::SCHEMA).map(|()| ExitCode::SUCCESS),
    }
}

/// On a large table new indexes take their time.
async fn install(target: &Target, form: Form, wanted: Option<u16>) -> anyhow::Result<ExitCode> {
    let spinner = spinner();
    spinner.set_message("installing the avouch schema");
    let shards = schema::install_at(target, wanted).await?;
    spinner.finish_and_clear();
    let done = wanted.is_none_or(|wanted| wanted == shards);
    form.tell(&Installed { action: "schema install", shards, done }, || {
        let fixed = if done { "" } else { "their number is fixed by the first install: --shards changed nothing\n" };
        format!("the avouch schema is installed, with {shards} shards\n{fixed}")
    })?;
    Ok(tell::code(done))
}

async fn check(target: &Target, form: Form) -> anyhow::Result<ExitCode> {
    let difference = schema::check(target).await?;
    form.tell(&difference, || readable(&difference))?;
    Ok(tell::code(difference.is_none()))
}

fn readable(difference: &Difference) -> String {
    if difference.is_none() {
        return "the avouch schema is as it should be".to_owned();
    }
    let missing = difference.missing.iter().map(|line| format!("- missing or different: {line}\n"));
    let unexpected = difference.unexpected.iter().map(|line| format!("+ not avouch's, or differs: {line}\n"));
    let lines: String = missing.chain(unexpected).collect();
    lines
        + "`avouch schema install` makes functions, triggers, indexes and grants again as they should be.\n\
           A missing column or constraint it cannot make: restore it by hand from schema.sql.\n\
           What is not avouch's it leaves alone, but for grants to public: remove it by hand if nobody needs it.\n"
}
