//! `avouch pause|resume|holds`: what waits because a person said so, or because its key is parked.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::operator::Operator;
use super::table::{Fit, Table, cut, more};
use super::tell::{code, escape};
use super::times::shown;
use crate::store::views::Hold;

/// What can be paused.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// All messages of a topic
    Topic,
    /// All messages with a key, in every topic
    Key,
    /// All that a consumer is to get
    Consumer,
}

/// A topic, a key or a consumer.
#[derive(Args, Debug)]
pub struct What {
    /// topic, key or consumer
    pub kind: Kind,
    /// Its name
    pub name: String,
}

#[derive(Debug, Serialize)]
struct Listed {
    holds: Vec<Hold>,
    /// There are more than were asked for.
    has_more: bool,
}

#[derive(Debug, Serialize)]
struct Moved<'a> {
    action: &'a str,
    kind: Kind,
    name: &'a str,
    done: bool,
}

const COLUMNS: &[(&str, Fit)] = &[
    ("what", Fit::Whole),
    ("name", Fit::Cut),
    ("since", Fit::Whole),
    ("parked behind", Fit::Whole),
    ("why", Fit::Cut),
];

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Key => "key",
            Self::Consumer => "consumer",
        }
    }
}

pub async fn pause(operator: &Operator, what: &What, why: Option<&str>) -> anyhow::Result<ExitCode> {
    let (kind, name) = (what.kind, &*what.name);
    operator.store.pause(operator.by(why), kind.word(), name).await?;
    operator.tell(&Moved { action: "pause", kind, name, done: true }, || {
        format!("{} {} is paused: its messages wait", kind.word(), escape(name))
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn resume(operator: &Operator, what: &What, why: Option<&str>) -> anyhow::Result<ExitCode> {
    let (kind, name) = (what.kind, &*what.name);
    let done = operator.store.resume(operator.by(why), kind.word(), name).await?;
    operator.tell(&Moved { action: "resume", kind, name, done }, || {
        let told = if done {
            "goes on"
        } else {
            "was not paused; a key parked behind a dead message goes on after resend or discard of it"
        };
        format!("{} {} {told}", kind.word(), escape(name))
    })?;
    Ok(code(done))
}

pub async fn list(operator: &Operator, limit: i64) -> anyhow::Result<ExitCode> {
    let (holds, has_more) = cut(operator.store.holds_shown(limit.saturating_add(1)).await?, limit);
    let listed = Listed { holds, has_more };
    operator.tell(&listed, || {
        let mut table = Table::new(COLUMNS);
        for h in &listed.holds {
            let behind = h.message_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let why = h.reason.as_deref().unwrap_or_default();
            table.row([
                h.kind.as_str().into(),
                h.name.as_str().into(),
                shown(h.created_at).into(),
                behind.into(),
                why.into(),
            ]);
        }
        if listed.holds.is_empty() { "nothing is held".to_owned() } else { table.take() + more(has_more) }
    })?;
    Ok(ExitCode::SUCCESS)
}
