//! `avouch session list|end`: who is logged in at the console, and whose sessions end at once.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::operator::Operator;
use super::table::{Cell, Fit, Table};
use super::tell::code;
use super::times::shown;
use crate::store::access::Session;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List sessions, the last used first; one that nobody uses for admin.session_idle_s is over, and stays listed until its end
    List,
    /// End all sessions of a person, or of whoever logged in with the token of this name
    End {
        /// Whose they are: an address, what the issuer calls them, or a token's name
        who: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Serialize)]
struct Listed {
    sessions: Vec<Session>,
}

#[derive(Debug, Serialize)]
struct Ended<'a> {
    who: &'a str,
    ended: i64,
}

const COLUMNS: &[(&str, Fit)] = &[
    ("who", Fit::Cut),
    ("role", Fit::Whole),
    ("by", Fit::Whole),
    ("begun", Fit::Whole),
    ("seen", Fit::Whole),
    ("ends", Fit::Whole),
];

pub async fn run(operator: &Operator, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => list(operator).await,
        Command::End { who, reason } => end(operator, &who, reason.as_deref()).await,
    }
}

async fn list(operator: &Operator) -> anyhow::Result<ExitCode> {
    let listed = Listed { sessions: operator.store.sessions(None).await? };
    operator.tell(&listed, || table(&listed.sessions))?;
    Ok(ExitCode::SUCCESS)
}

fn table(sessions: &[Session]) -> String {
    let mut table = Table::new(COLUMNS);
    for s in sessions {
        table.row([
            s.who.as_str().into(),
            Cell::from(s.role.name()),
            s.by.as_str().into(),
            shown(s.created_at).into(),
            shown(s.seen_at).into(),
            shown(s.ends_at).into(),
        ]);
    }
    if sessions.is_empty() { "nobody is logged in".to_owned() } else { table.take() }
}

async fn end(operator: &Operator, who: &str, why: Option<&str>) -> anyhow::Result<ExitCode> {
    let ended = operator.store.end_sessions(operator.by(why), who).await?;
    operator.tell(&Ended { who, ended }, || match ended {
        0 => format!("{who} has no session: avouch session list"),
        _ => format!("{who} is logged out: {ended} sessions have ended"),
    })?;
    Ok(code(ended > 0))
}
