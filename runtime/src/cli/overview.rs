//! `avouch instances|samples|audit`: who runs, how it went, and what people did.

use serde::Serialize;

use super::inspect::{counted, lease};
use super::operator::Operator;
use super::table::{Cell, Fit, Table, Tone};
use super::times::{shown, span};
use crate::store::views::{Audited, Instance, Sample};

#[derive(Debug, Serialize)]
struct Instances {
    instances: Vec<Instance>,
    shards: i64,
    shards_without_owner: i64,
}

#[derive(Debug, Serialize)]
struct Samples {
    samples: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct Audit {
    audit: Vec<Audited>,
}

const INSTANCES: &[(&str, Fit)] = &[
    ("name", Fit::Whole),
    ("version", Fit::Whole),
    ("lease", Fit::Whole),
    ("shards", Fit::Number),
    ("inserted/s", Fit::Number),
    ("sent/s", Fit::Number),
    ("received/s", Fit::Number),
    ("sent", Fit::Number),
    ("trouble", Fit::Cut),
];
const SAMPLES: &[(&str, Fit)] = &[
    ("at", Fit::Whole),
    ("ready", Fit::Number),
    ("oldest", Fit::Number),
    ("waiting", Fit::Number),
    ("dead", Fit::Number),
    ("in doubt", Fit::Number),
    ("inserted/s", Fit::Number),
    ("sent/s", Fit::Number),
    ("received/s", Fit::Number),
];
const AUDIT: &[(&str, Fit)] = &[
    ("at", Fit::Whole),
    ("who", Fit::Whole),
    ("did", Fit::Whole),
    ("to", Fit::Whole),
    ("more", Fit::Cut),
    ("why", Fit::Cut),
];

/// Processes with a lease, and those that lost it lately.
pub async fn instances(operator: &Operator) -> anyhow::Result<()> {
    let status = operator.store.status().await?;
    let (shards, shards_without_owner) = (status.shards, status.shards_without_owner);
    let listed = Instances { instances: status.instances, shards, shards_without_owner };
    operator.tell(&listed, || {
        let mut table = Table::new(INSTANCES);
        for i in &listed.instances {
            let tone = if i.lease_s > 0.0 { Tone::Good } else { Tone::Bad };
            table.row([
                i.name.as_str().into(),
                i.version.as_str().into(),
                Cell::from(lease(i)).toned(tone),
                i.shards.len().to_string().into(),
                rate(i.inserted_per_s),
                rate(i.sent_per_s),
                rate(i.received_per_s),
                i.sent_total.into(),
                i.trouble.as_deref().into(),
            ]);
        }
        let rest = format!("{shards_without_owner} of {shards} shards are without an owner\n");
        match listed.instances.is_empty() {
            true => format!("none in the last ten minutes: start `avouch run`\n{rest}"),
            false => table.take() + &rest,
        }
    })
}

/// How it went in the last so many minutes.
pub async fn samples(operator: &Operator, minutes: i32) -> anyhow::Result<()> {
    let listed = Samples { samples: operator.store.samples(minutes).await? };
    operator.tell(&listed, || {
        let mut table = Table::new(SAMPLES);
        for s in &listed.samples {
            let count = |n: i32| Cell::from(counted(i64::from(n)));
            table.row([
                shown(s.at).into(),
                count(s.ready),
                s.oldest_s.map_or_else(|| "-".to_owned(), span).into(),
                count(s.waiting),
                count(s.dead),
                count(s.in_doubt),
                rate(s.inserted_per_s),
                rate(s.sent_per_s),
                rate(s.received_per_s),
            ]);
        }
        if listed.samples.is_empty() {
            "no sample: `avouch run` takes one every ten seconds".to_owned()
        } else {
            table.take()
        }
    })
}

/// What people did, newest first.
pub async fn audit(operator: &Operator, before: Option<i64>, limit: i64) -> anyhow::Result<()> {
    let listed = Audit { audit: operator.store.audited(before, limit).await? };
    operator.tell(&listed, || {
        let mut table = Table::new(AUDIT);
        for a in &listed.audit {
            let more = a.detail.as_deref().filter(|detail| Some(*detail) != a.why.as_deref()).unwrap_or_default();
            table.row([
                shown(a.at).into(),
                a.actor.as_str().into(),
                a.action.as_str().into(),
                a.subject.as_str().into(),
                more.into(),
                a.why.as_deref().unwrap_or_default().into(),
            ]);
        }
        if listed.audit.is_empty() { "nobody did anything".to_owned() } else { table.take() }
    })
}

fn rate(per_s: f64) -> Cell {
    format!("{per_s:.0}").into()
}
