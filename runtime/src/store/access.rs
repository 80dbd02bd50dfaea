//! Tokens and sessions of the HTTP API and the console. Of each secret only the hash comes here.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use utoipa::ToSchema;
use uuid::Uuid;

use super::operate::By;
use super::{Error, Store};
use crate::access::{Hash, Role};

/// Who stands behind a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The token; none behind a session of a person who came by OpenID Connect.
    pub token: Option<Uuid>,
    /// The token's name, or the person.
    pub who: String,
    /// What they may do.
    pub role: Role,
}

/// A token, without its secret.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Token {
    /// Its name: who the audit says it was.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// `valid`, `expired` or `revoked`.
    pub state: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    /// Who made it.
    pub created_by: String,
    /// Until when it is valid; none: for good.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
    /// When it was used last, to the minute.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<OffsetDateTime>,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<OffsetDateTime>,
}

/// A token to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// Of its secret.
    pub hash: &'a Hash,
    /// Letters, digits, `_ . @ -`, up to 64; no valid token may have it.
    pub name: &'a str,
    /// What its bearer may do.
    pub role: Role,
    /// For how long; none: for good.
    pub days: Option<i32>,
}

/// What became of a token that was to be made.
#[derive(Debug)]
pub enum Created {
    /// It is there.
    Done(Box<Token>),
    /// A token of this name is there and not revoked.
    NameTaken,
    /// The name has another form.
    NameRefused,
}

/// A session that may go on.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Session {
    /// The token's name, or the person.
    pub who: String,
    /// What they may do.
    pub role: Role,
    /// How they came: `token` or `oidc`.
    pub by: String,
    /// When they logged in.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    /// When they used it last, to a tenth of the idle time.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: OffsetDateTime,
    /// When it ends at the latest.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: OffsetDateTime,
}

/// Who brings a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A person, who is there.
    Person,
    /// A page that renews itself, whether somebody looks at it or not.
    Page,
}

/// What sessions must be to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Used by a person within so many seconds.
    pub idle_s: u32,
    /// There is an issuer, so that those who came from it are let in.
    pub has_issuer: bool,
}

/// A session to be begun.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// Of its id.
    pub hash: &'a Hash,
    /// Whose it is.
    pub known: &'a Known,
    /// After which it ends whatever happens.
    pub max_s: u32,
}

impl Store {
    /// Whether the database answers, takes writes, and has a schema of one of these versions.
    pub async fn serves(&self, versions: RangeInclusive<i32>) -> Result<bool, Error> {
        let rows = self.access.query(include_str!("access/serves.sql"), &[versions.start(), versions.end()]).await?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// Who bears the token of this hash, if it is valid.
    pub async fn token_bearer(&self, hash: &Hash) -> Result<Option<Known>, Error> {
        let rows = self.access.query(include_str!("access/token_bearer.sql"), &[&hash.as_slice()]).await?;
        rows.first().map(known).transpose()
    }

    /// Whose session this is, if it has not ended, is as the rules say, and its token is still valid.
    pub async fn session_owner(&self, hash: &Hash, rules: Rules, by: Use) -> Result<Option<Known>, Error> {
        let (idle_s, is_used) = (f64::from(rules.idle_s), by == Use::Person);
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&hash.as_slice(), &idle_s, &is_used, &rules.has_issuer];
        let rows = self.access.query(include_str!("access/session_owner.sql"), &params).await?;
        rows.first().map(known).transpose()
    }

    /// Begins a session, and forgets some that have ended.
    pub async fn begin_session(&self, session: NewSession<'_>) -> Result<(), Error> {
        let NewSession { hash, known, max_s } = session;
        let sql = include_str!("access/begin_session.sql");
        let role = known.role.name();
        self.access
            .execute(sql, &[&hash.as_slice(), &known.token, &known.who, &role, &f64::from(max_s)])
            .await
            .map(drop)
    }

    /// Ends a session; nothing if there is none.
    pub async fn end_session(&self, hash: &Hash) -> Result<(), Error> {
        self.access.execute(include_str!("access/end_session.sql"), &[&hash.as_slice()]).await.map(drop)
    }

    /// Sessions that may go on, the last used first.
    pub async fn sessions(&self, rules: Option<Rules>) -> Result<Vec<Session>, Error> {
        let (idle_s, has_issuer) = (rules.map(|r| f64::from(r.idle_s)), rules.is_none_or(|r| r.has_issuer));
        let rows = self.access.query(include_str!("access/sessions.sql"), &[&idle_s, &has_issuer]).await?;
        rows.iter().map(session).collect()
    }

    /// Ends all sessions of somebody. Returns how many they were.
    pub async fn end_sessions(&self, by: By<'_>, who: &str) -> Result<i64, Error> {
        let rows = self.access.request(include_str!("access/end_sessions.sql"), &[&who, &by.who, &by.why]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    /// All tokens, the newest first; those that were revoked only lately.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let rows = self.access.query(include_str!("access/tokens.sql"), &[]).await?;
        rows.iter().map(token).collect()
    }

    /// Makes a token; who and why is told to the audit.
    pub async fn create_token(&self, by: By<'_>, new: NewToken<'_>) -> Result<Created, Error> {
        let NewToken { hash, name, role, days } = new;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&hash.as_slice(), &name, &role.name(), &days, &by.who, &by.why];
        match self.access.ask(include_str!("access/create_token.sql"), &params).await? {
            Ok(rows) => {
                let row = rows.first().ok_or_else(|| Error::Fatal("a token was made and is not there".into()))?;
                Ok(Created::Done(Box::new(token(row)?)))
            }
            Err(e) if e.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(Created::NameTaken),
            Err(e) if e.code() == Some(&SqlState::CHECK_VIOLATION) => Ok(Created::NameRefused),
            Err(e) => Err(Error::of_request(e)),
        }
    }

    /// Revokes the token of this name, and ends its sessions. Returns false if none is there that is not revoked.
    pub async fn revoke_token(&self, by: By<'_>, name: &str) -> Result<bool, Error> {
        let rows = self.access.request(include_str!("access/revoke_token.sql"), &[&name, &by.who, &by.why]).await?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }
}

fn known(row: &Row) -> Result<Known, Error> {
    Ok(Known { token: row.get(0), who: row.get(1), role: role(row.get(2))? })
}

fn token(row: &Row) -> Result<Token, Error> {
    Ok(Token {
        name: row.get(0),
        role: role(row.get(1))?,
        state: row.get(2),
        created_at: row.get(3),
        created_by: row.get(4),
        expires_at: row.get(5),
        last_used_at: row.get(6),
        revoked_at: row.get(7),
    })
}

fn session(row: &Row) -> Result<Session, Error> {
    Ok(Session {
        who: row.get(0),
        role: role(row.get(1))?,
        by: row.get(2),
        created_at: row.get(3),
        seen_at: row.get(4),
        ends_at: row.get(5),
    })
}

fn role(name: &str) -> Result<Role, Error> {
    Role::of(name).ok_or_else(|| Error::Fatal(format!("role {name} is unknown to this version: use the newer one")))
}
