//! Whether the runtimes behaved: owners, leftovers, memory, and the time they took once all was healed.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{Invariant, Violation, violation};
use crate::facts::{Facts, Sample, Witness};

/// Caches and pools fill in this time.
const WARM_UP_MS: u64 = 20_000;
/// Fewer samples of a process say nothing.
const SAMPLES_MIN: usize = 30;
/// A leak would outgrow it in half an hour; a backlog after an outage is within it.
const GROWTH_MAX: f64 = 1.5;
const RSS_SLACK_KIB: u64 = 64 << 10;
const DESCRIPTORS_SLACK: u64 = 24;

pub(super) fn check(facts: &Facts, found: &mut Vec<Violation>) {
    owners(facts, found);
    ending(facts, found);
    flat(facts, found);
}

fn owners(facts: &Facts, found: &mut Vec<Violation>) {
    let mut of = HashMap::<(i32, i64), Uuid>::new();
    let mut highest = HashMap::<(Witness, i32), i64>::new();
    for seen in &facts.owners {
        let before = highest.insert((seen.by, seen.shard), seen.epoch);
        if before.is_some_and(|before| before > seen.epoch) {
            let object = format!("shard {} went from epoch {before:?} back to {}", seen.shard, seen.epoch);
            found.push(violation(Invariant::OneOwner, object));
        }
        let Some(owner) = seen.owner else { continue };
        let first = *of.entry((seen.shard, seen.epoch)).or_insert(owner);
        if first != owner {
            let object = format!("shard {} had {first} and {owner} in epoch {}", seen.shard, seen.epoch);
            found.push(violation(Invariant::OneOwner, object));
        }
    }
}

fn ending(facts: &Facts, found: &mut Vec<Violation>) {
    let ending = &facts.ending;
    if ending.drained_ms.is_none_or(|ms| ms > ending.drain_max_ms) {
        let object = format!("after {} ms there were left: {}", ending.drain_max_ms, ending.left);
        found.push(violation(Invariant::Drained, object));
    }
    for session in &ending.idle_in_transaction {
        found.push(violation(Invariant::NoIdleTransaction, session.clone()));
    }
    for ended in &ending.ended_by_themselves {
        found.push(violation(Invariant::RuntimesStay, ended.clone()));
    }
}

/// The median of the last third of a process's life against that of its first.
fn flat(facts: &Facts, found: &mut Vec<Violation>) {
    let mut lives = BTreeMap::<u32, Vec<&Sample>>::new();
    for sample in facts.samples.iter().filter(|s| s.age_ms >= WARM_UP_MS) {
        lives.entry(sample.pid).or_default().push(sample);
    }
    for (pid, life) in lives.iter().filter(|(_, life)| life.len() >= SAMPLES_MIN) {
        let grew = |of: fn(&Sample) -> u64, slack: u64| {
            let third = life.len() / 3;
            let early = median(life[..third].iter().map(|s| of(s)));
            let late = median(life[life.len() - third..].iter().map(|s| of(s)));
            (late as f64 > early as f64 * GROWTH_MAX + slack as f64)
                .then(|| format!("process {pid}: {early} early, {late} late"))
        };
        found.extend(grew(|s| s.rss_kib, RSS_SLACK_KIB).map(|what| violation(Invariant::MemoryFlat, what + " (KiB)")));
        found
            .extend(grew(|s| s.descriptors, DESCRIPTORS_SLACK).map(|what| violation(Invariant::DescriptorsFlat, what)));
    }
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
