//! `avouch token create|list|revoke`: who may use the API and the console.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::access::{Role, hash_token, new_token};
use crate::store::Store;
use crate::store::access::{Created, NewToken, Token};

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
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// List tokens, without their secrets
    List {
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token; the sessions that began with it end
    Revoke {
        /// Its name
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

pub async fn run(store: &Store, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create { name, role, days, never, json } => {
            let secret = new_token();
            let token = create(store, &secret, &name, &role, (!never).then_some(days)).await?;
            print_created(&secret, &token, json)
        }
        Command::List { json } => list(&store.tokens().await?, json),
        Command::Revoke { name, reason } => revoke(store, &name, reason.as_deref()).await,
    }
}

async fn create(store: &Store, secret: &str, name: &str, role: &str, days: Option<u16>) -> anyhow::Result<Token> {
    let hash = hash_token(secret).expect("it was made by us");
    let role = Role::of(role).expect("the argument is one of them");
    let new = NewToken { hash: &hash, name, role, days: days.map(i32::from) };
    match store.create_token(new, None).await? {
        Created::Done(token) => Ok(*token),
        Created::NameTaken => {
            bail!("a token {name} is there already: take another name, or `avouch token revoke {name}` first")
        }
        Created::NameRefused => bail!("the name {name:?} has another form: write up to 64 letters, digits, _ . @ -"),
    }
}

fn print_created(secret: &str, token: &Token, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        let mut document = serde_json::to_value(token)?;
        document["secret"] = json!(secret);
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{secret}");
    eprintln!("token {}, role {}, {}; the secret is not shown again", token.name, token.role.name(), until(token));
    Ok(ExitCode::SUCCESS)
}

fn list(tokens: &[Token], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(tokens)?);
        return Ok(ExitCode::SUCCESS);
    }
    for token in tokens {
        let used = token.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("used {}", shown(at)));
        println!(
            "{}  {}  {}, {}, {used}, by {}",
            token.name,
            token.role.name(),
            token.state,
            until(token),
            token.created_by
        );
    }
    if tokens.is_empty() {
        println!("no token is there: avouch token create NAME --role admin");
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(store: &Store, name: &str, reason: Option<&str>) -> anyhow::Result<ExitCode> {
    if store.revoke_token(name, None, reason).await? {
        println!("token {name} is revoked, and its sessions have ended");
        return Ok(ExitCode::SUCCESS);
    }
    println!("no token {name} is there that is not revoked: avouch token list");
    Ok(ExitCode::FAILURE)
}

fn until(token: &Token) -> String {
    token.expires_at.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {}", shown(at)))
}

fn shown(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}
