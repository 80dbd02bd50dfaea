//! What shows deployed plugins: which version answers to each name, those before, and what they said.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;

use super::operator::{Form, Operator};
use super::table::{Cell, Fit, Table, Tone, cut, facts, heading, more};
use super::tell::{self, escape};
use super::times::shown;
use crate::store::views::{Deployment, PluginLine};

#[derive(Debug, Serialize)]
struct Listed {
    deployments: Vec<Deployment>,
    /// There are older ones.
    has_more: bool,
}

#[derive(Debug, Serialize)]
struct Lines {
    lines: Vec<PluginLine>,
}

/// So many deployments of one plugin are shown.
const LISTED: i64 = 200;
/// How much of a digest is enough to tell versions apart.
const DIGEST_SHOWN: usize = 12;
const COLUMNS: &[(&str, Fit)] = &[
    ("", Fit::Whole),
    ("plugin", Fit::Whole),
    ("version", Fit::Cut),
    ("digest", Fit::Whole),
    ("at", Fit::Whole),
    ("by", Fit::Whole),
    ("may use", Fit::Cut),
];

/// All deployments, newest first.
pub async fn list(operator: &Operator, limit: i64) -> anyhow::Result<ExitCode> {
    let listed = listed(operator, None, limit).await?;
    operator.tell(&listed, || match listed.deployments.is_empty() {
        true => "no plugin is deployed".to_owned(),
        false => table(&listed.deployments) + more(listed.has_more),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One plugin: what answers now, and what did before.
pub async fn show(operator: &Operator, name: &str) -> anyhow::Result<ExitCode> {
    let listed = listed(operator, Some(name), LISTED).await?;
    let Some(current) = listed.deployments.first() else {
        bail!("no plugin {name} was ever deployed: avouch plugin list");
    };
    operator.tell(&listed, || {
        let answers = current.digest.clone().unwrap_or_else(|| "nobody: it was removed".to_owned());
        let settings = current.grants["settings"].as_object().cloned().unwrap_or_default();
        let settings: Vec<String> =
            settings.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        let size = current.bytes.map_or_else(String::new, |bytes| format!("{bytes} bytes"));
        facts(&[
            ("plugin", current.name.clone()),
            ("version", current.version.clone().unwrap_or_default()),
            ("sha256", answers),
            ("file", size),
            ("may use", bindings(&current.grants)),
            ("settings", settings.join(" ")),
            ("since", shown(current.at)),
            ("by", current.actor.clone()),
        ]) + &heading("Deployments, newest first")
            + &table(&listed.deployments)
            + if listed.has_more { "older ones are not shown\n" } else { "" }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn listed(operator: &Operator, name: Option<&str>, limit: i64) -> anyhow::Result<Listed> {
    let deployments = operator.store.deployments_shown(name, limit.saturating_add(1)).await?;
    let (deployments, has_more) = cut(deployments, limit);
    Ok(Listed { deployments, has_more })
}

fn table(deployments: &[Deployment]) -> String {
    let mut table = Table::new(COLUMNS);
    for d in deployments {
        let digest = d.digest.as_deref().map_or("removed", |digest| short(digest));
        table.row([
            Cell::from(if d.is_current { "*" } else { "" }).toned(Tone::Good),
            d.name.as_str().into(),
            d.version.as_deref().into(),
            digest.into(),
            shown(d.at).into(),
            d.actor.as_str().into(),
            bindings(&d.grants).into(),
        ]);
    }
    table.take()
}

fn short(digest: &str) -> &str {
    digest.get(..DIGEST_SHOWN).unwrap_or(digest)
}

fn bindings(grants: &Value) -> String {
    let bindings = grants["bindings"].as_array().into_iter().flatten();
    bindings.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

/// How often new lines are looked for.
const FOLLOW: Duration = Duration::from_millis(500);
/// So many lines one look brings; it looks again until it has all that are new.
const LINES: i64 = 1000;

/// Prints the newest lines, and with `follow` those that come: each a document of its own then.
pub async fn logs(operator: &Operator, name: Option<&str>, limit: i64, follow: bool) -> anyhow::Result<ExitCode> {
    let mut lines = operator.store.plugin_lines(name, None, limit).await?;
    lines.reverse();
    if !follow {
        let listed = Lines { lines };
        operator.tell(&listed, || match listed.lines.is_empty() {
            true => "no plugin said anything".to_owned(),
            false => listed.lines.iter().map(line).collect(),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut last = 0;
    loop {
        for l in &lines {
            match operator.form {
                Form::Text => tell::text(&line(l))?,
                Form::Json => tell::text(&tell::line_of(l)?)?,
            }
            last = last.max(l.id);
        }
        tokio::time::sleep(FOLLOW).await;
        lines = newer(operator, name, last).await?;
    }
}

/// Lines after this one, oldest first.
async fn newer(operator: &Operator, name: Option<&str>, last: i64) -> anyhow::Result<Vec<PluginLine>> {
    let (mut newer, mut before) = (Vec::new(), None);
    loop {
        let some = operator.store.plugin_lines(name, before, LINES).await?;
        before = some.last().map(|l| l.id);
        let reached = before.is_none_or(|id| id <= last + 1);
        newer.extend(some.into_iter().filter(|l| l.id > last));
        if reached {
            newer.reverse();
            return Ok(newer);
        }
    }
}

fn line(l: &PluginLine) -> String {
    let digest = l.digest.as_deref().map_or("-", |digest| short(digest));
    let tx = l.tx_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{} {:<5} {} {digest} tx {tx}  {}\n", shown(l.at), escape(&l.level), escape(&l.plugin), escape(&l.line))
}
