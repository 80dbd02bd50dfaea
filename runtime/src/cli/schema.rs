//! `avouch schema install|check`.

use std::process::ExitCode;

use clap::Subcommand;

use crate::schema;
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

pub async fn run(target: impl FnOnce() -> anyhow::Result<Target>, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Install { shards } => {
            let installed = schema::install_at(&target()?, shards).await?;
            println!("the avouch schema is installed, with {installed} shards");
            if shards.is_some_and(|wanted| wanted != installed) {
                println!("their number is fixed by the first install: --shards changed nothing");
                return Ok(ExitCode::FAILURE);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Check => {
            let difference = schema::check(&target()?).await?;
            if difference.is_none() {
                println!("the avouch schema is as it should be");
                return Ok(ExitCode::SUCCESS);
            }
            for line in &difference.missing {
                println!("- missing or different: {line}");
            }
            for line in &difference.unexpected {
                println!("+ not avouch's, or differs: {line}");
            }
            println!("`avouch schema install` makes functions, triggers, indexes and grants again as they should be.");
            println!("A missing column or constraint it cannot make: restore it by hand from schema.sql.");
            println!(
                "What is not avouch's it leaves alone, but for grants to public: remove it by hand if nobody needs it."
            );
            Ok(ExitCode::FAILURE)
        }
        Command::Print => {
            print!("{}", schema::SCHEMA);
            Ok(ExitCode::SUCCESS)
        }
    }
}
