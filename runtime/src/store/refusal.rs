//! What Postgres has against a request itself: the rule that it breaks, and what to do. Trying again is no help.

use tokio_postgres::error::{DbError, SqlState};

/// A request that was refused, and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (rule {rule}): {remedy}")]
pub struct Refusal {
    /// The rule: the name that `schema.sql` gives it, or the code of Postgres.
    pub rule: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// What has to be another one.
    pub fault: Fault,
}

/// Where the fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// In what the request says.
    Request,
    /// In what is there: with that in another state, the same request is taken.
    State,
}

impl Refusal {
    /// What this error has against the request; none if it is about something else: the connection, the server, who was faster.
    pub fn of(e: &tokio_postgres::Error) -> Option<Self> {
        let db = e.as_db_error()?;
        let fault = fault_of(db)?;
        let rule = match db.constraint() {
            Some(rule) => rule.to_owned(),
            None if *db.code() == SqlState::CHARACTER_NOT_IN_REPERTOIRE => "text_without_zero".to_owned(),
            None => format!("SQLSTATE {}", db.code().code()),
        };
        Some(Self { remedy: remedy_of(db, &rule, fault), what: db.message().to_owned(), rule, fault })
    }
}

fn fault_of(db: &DbError) -> Option<Fault> {
    let code = db.code();
    let is_of = |class: &str| code.code().starts_with(class);
    match code {
        &SqlState::CHECK_VIOLATION | &SqlState::NOT_NULL_VIOLATION => Some(Fault::Request),
        &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE | &SqlState::RAISE_EXCEPTION => Some(Fault::State),
        // Postgres itself says so of what an install lacks; only our own functions name a rule with it.
        &SqlState::UNDEFINED_OBJECT => db.constraint().map(|_| Fault::State),
        // What data cannot be, and what is too large or too complex to be taken.
        _ if is_of("22") || is_of("54") => Some(Fault::Request),
        _ if is_of("23") => Some(Fault::State),
        _ => None,
    }
}

fn remedy_of(db: &DbError, rule: &str, fault: Fault) -> String {
    let remedy = match (db.hint(), rule, fault) {
        (Some(hint), ..) => hint,
        (None, "text_without_zero", _) => "leave the character U+0000 out: Postgres cannot keep it",
        (None, "hold_kind_known", _) => "pause a topic, a key or a consumer",
        (None, "plugin_digest", _) => "give the SHA-256 of the file, in lowercase hexadecimal",
        (None, _, Fault::Request) => "correct the request",
        (None, _, Fault::State) => "look at it again, then decide anew",
    };
    remedy.to_owned()
}
