//! `avouch token create|list|revoke`: who may use the API and the console.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::operator::Operator;
use super::table::{Cell, Fit, Table, Tone};
use super::tell;
use super::times;
use crate::access::{Role, hash_token, new_token};
use crate::store::access::{Created, NewToken, Token};
use crate::store::operate::By;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token; its secret is printed once
    Create {
        /// Whose it is: the audit says so. Letters, digits, _ . @ -
        name: String,
        /// view: look; operate: resend, discard, replay, pause, decide; admin: plugins, consumers, tokens
        #[arg(long, value_parser = ["view", "operate", "admin"], default_value = "view")]
        role: String,
        /// For how many days it is valid
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650), conflicts_with = "never")]
        days: u16,
        /// It is valid until it is revoked
        #[arg(long)]
        never: bool,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// List tokens, without their secrets
    List,
    /// Revoke a token; the sessions that began with it end
    Revoke {
        /// Its name
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

const COLUMNS: &[(&str, Fit)] = &[
    ("token", Fit::Whole),
    ("role", Fit::Whole),
    ("state", Fit::Whole),
    ("valid until", Fit::Whole),
    ("last used", Fit::Whole),
    ("made by", Fit::Cut),
];

pub async fn run(operator: &Operator, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create { name, role, days, never, reason } => {
            let (secret, days) = (new_token(), (!never).then_some(days.into()));
            let hash = hash_token(&secret).expect("it was made by us");
            let role = Role::of(&role).expect("the argument is one of them");
            let new = NewToken { hash: &hash, name: &name, role, days };
            let token = create(operator, operator.by(reason.as_deref()), new).await?;
            print_created(operator, &secret, &token)
        }
        Command::List => list(operator).await,
        Command::Revoke { name, reason } => revoke(operator, &name, reason.as_deref()).await,
    }
}

async fn create(operator: &Operator, by: By<'_>, new: NewToken<'_>) -> anyhow::Result<Token> {
    let name = new.name;
    match operator.store.create_token(by, new).await? {
        Created::Done(token) => Ok(*token),
        Created::NameTaken => {
            bail!("a token {name} is there already: take another name, or `avouch token revoke {name}` first")
        }
        Created::NameRefused => bail!("the name {name:?} has another form: write up to 64 letters, digits, _ . @ -"),
    }
}

fn print_created(operator: &Operator, secret: &str, token: &Token) -> anyhow::Result<ExitCode> {
    let mut document = serde_json::to_value(token)?;
    document["secret"] = json!(secret);
    operator.tell(&document, || {
        eprintln!("token {}, role {}, {}; the secret is not shown again", token.name, token.role.name(), until(token));
        secret.to_owned()
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(operator: &Operator) -> anyhow::Result<ExitCode> {
    let tokens = operator.store.tokens().await?;
    operator.tell(&tokens, || {
        if tokens.is_empty() {
            return "no token is there: avouch token create NAME --role admin".to_owned();
        }
        table(&tokens)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn table(tokens: &[Token]) -> String {
    let mut table = Table::new(COLUMNS);
    for token in tokens {
        let tone = if token.state == "valid" { Tone::Good } else { Tone::Plain };
        table.row([
            token.name.as_str().into(),
            token.role.name().into(),
            Cell::from(token.state.as_str()).toned(tone),
            token.expires_at.map_or_else(|| "for good".to_owned(), times::shown).into(),
            token.last_used_at.map_or_else(|| "never".to_owned(), times::shown).into(),
            token.created_by.as_str().into(),
        ]);
    }
    table.take()
}

async fn revoke(operator: &Operator, name: &str, reason: Option<&str>) -> anyhow::Result<ExitCode> {
    let is_done = operator.store.revoke_token(operator.by(reason), name).await?;
    operator.tell(&json!({ "name": name, "revoked": is_done }), || match is_done {
        true => format!("token {name} is revoked, and its sessions have ended"),
        false => format!("no token {name} is there that is not revoked: avouch token list"),
    })?;
    Ok(tell::code(is_done))
}

fn until(token: &Token) -> String {
    token.expires_at.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {}", shown(at)))
}

fn shown(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}
