//! `make chaos`: random faults from one seed under a steady load, then the books are balanced by a checker of its own.
//!
//! `CHAOS_SECONDS=n` sets how long, `CHAOS_SEED=s` repeats a run as far as timing allows, `CHAOS_RATE=n` sets how many messages a
//! second are written, `CHAOS_FORGET=1` makes the broker forget as well, `CHAOS_ONLY=text` leaves only the trouble with that in its
//! name, and no kills. `avouch-chaos check FILE` judges kept facts again.

mod checker;
mod collect;
mod disk;
mod dump;
mod facts;
mod faults;
mod ledger;
mod load;
mod observe;
mod proxy;
mod report;
mod rng;
mod run;
mod schedule;
mod settings;
mod stage;

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::checker::check;
use crate::facts::Facts;
use crate::settings::Settings;

/// Which way it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Every invariant was kept.
    Green,
    /// Some were not.
    Red,
}

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let colour = match args.as_slice() {
        [] => run_all()?,
        [word, file] if word == "check" => check_again(file)?,
        _ => bail!("usage: avouch-chaos, or avouch-chaos check FILE"),
    };
    Ok(if colour == Colour::Green { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_all() -> anyhow::Result<Colour> {
    let settings = Settings::read()?;
    if let Err(error) = disk::own_mounts() {
        println!("  ! {error:#}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run::run(&settings))
}

/// Of a run that was red: the checker may have learned since.
fn check_again(file: &str) -> anyhow::Result<Colour> {
    let file = File::open(file).with_context(|| format!("cannot read {file}"))?;
    let facts: Facts = serde_json::from_reader(BufReader::new(file))?;
    let violations = check(&facts);
    for violation in &violations {
        println!("{}: {}", violation.invariant, violation.object);
    }
    Ok(if violations.is_empty() { Colour::Green } else { Colour::Red })
}
