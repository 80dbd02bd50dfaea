//! What a run comes to: the table for its reader, and on red the violations and what is kept for looking into them.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use crate::checker::{Invariant, Violation};
use crate::facts::{Facts, Fate, State, Step};

/// Of one invariant; the rest are counted.
const SHOWN_MAX: usize = 5;

/// What is counted besides the facts.
#[derive(Debug)]
pub struct Run {
    pub seed: u64,
    pub took: Duration,
    pub applied: Vec<&'static str>,
    /// Replies that proxies cut off or lost.
    pub sprung: u64,
    pub notes: Vec<String>,
}

/// The summary.
pub fn print(run: &Run, facts: &Facts, violations: &[Violation]) {
    println!("\nfaults");
    for (name, times) in counted(run.applied.iter().copied()) {
        println!("  {name:32} {times:>8}");
    }
    let kills = run.applied.iter().filter(|name| name.starts_with("kill ")).count();
    println!("  {:32} {kills:>8}", "kills in all");
    println!("  {:32} {:>8}", "replies cut off or lost", run.sprung);
    println!("messages");
    for (name, count) in messages(facts) {
        println!("  {name:32} {count:>8}");
    }
    let rate = facts.stream.len() as f64 / run.took.as_secs_f64();
    println!("  {:32} {rate:>8.1}", "in the stream, a second");
    println!("rows");
    for (state, count) in &facts.ending.counts {
        println!("  {:32} {count:>8}", format!("{state:?}").to_lowercase());
    }
    println!("effects");
    for (who, times) in
        counted(facts.effects.iter().filter(|e| !matches!(e.step, Step::Recorded(_))).map(|e| e.who.as_str()))
    {
        println!("  {who:32} {times:>8}");
    }
    let drained = facts.ending.drained_ms.map_or("never".into(), |ms| format!("{ms} ms"));
    println!("drained after {drained}; {} changes of owner; {} samples", facts.owners.len(), facts.samples.len());
    for note in &run.notes {
        println!("note: {note}");
    }
    verdict(run, violations);
}

fn messages(facts: &Facts) -> Vec<(&'static str, usize)> {
    let fate = |fate| facts.written.iter().filter(|w| w.fate == fate).count();
    let stored: HashSet<_> = facts.stream.iter().map(|s| s.number).collect();
    let may: Vec<_> = facts.written.iter().filter(|w| w.fate == Fate::May).map(|w| w.number).collect();
    let happened = facts.rows.iter().filter(|r| r.state != State::Cancelled).filter_map(|r| r.number);
    let happened: HashSet<_> = happened.collect();
    vec![
        ("written, known to be committed", fate(Fate::Must)),
        ("written, commit unknown", may.len()),
        ("of these it happened", may.iter().filter(|n| happened.contains(n)).count()),
        ("rolled back, refused, not released", fate(Fate::Never)),
        ("transactions in doubt", facts.deeds.len()),
        ("in the stream", facts.stream.len()),
        ("sent again, or twice", facts.stream.len() - stored.len()),
    ]
}

fn verdict(run: &Run, violations: &[Violation]) {
    let by: BTreeMap<Invariant, Vec<&Violation>> = violations.iter().fold(BTreeMap::new(), |mut by, v| {
        by.entry(v.invariant).or_insert_with(Vec::new).push(v);
        by
    });
    println!("invariants");
    for invariant in Invariant::ALL {
        let found = by.get(&invariant).map_or(&[][..], Vec::as_slice);
        let word = if found.is_empty() { "kept".to_owned() } else { format!("BROKEN {} times", found.len()) };
        println!("  {:72} {word}", invariant.to_string());
        for violation in found.iter().take(SHOWN_MAX) {
            println!("    {}", violation.object);
        }
    }
    let word = if violations.is_empty() { "GREEN" } else { "RED" };
    println!("{word}: seed {}, {:.0} s (CHAOS_SEED={} repeats it)", run.seed, run.took.as_secs_f64(), run.seed);
}

fn counted<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    names.fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}

/// What the checker saw.
pub fn keep(facts: &Facts, violations: &[Violation], dir: &Path) -> anyhow::Result<()> {
    let file = BufWriter::new(File::create(dir.join("facts.json"))?);
    serde_json::to_writer(file, facts)?;
    let lines: Vec<String> = violations.iter().map(|v| format!("{:?}: {}\n", v.invariant, v.object)).collect();
    Ok(std::fs::write(dir.join("violations"), lines.concat())?)
}
