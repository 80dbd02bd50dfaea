//! What a database is asked to judge how well it serves: read only, each question by itself, so that one which may not be asked
//! hides no other. Nothing is left in the session, which may be a pooler's.

mod books;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

pub use self::books::{Books, Checker, Consumer, Endpoint, Hold, Instance, Known, Shaper};
use super::connect::Target;
use super::{Error, full_text};

/// Sessions of one runtime in one database: the links of [`super::Store`], the listening one, and two at start.
pub const SESSIONS_MAX: i64 = LINKS + 3;
/// Those of a store of its own that answers receivers: the links that `receivers.rs` uses.
pub const RECEIVERS_SESSIONS_MAX: i64 = 3;
const LINKS: i64 = 15;
/// The server cancels a question first, and its session lives on.
const ANSWER: Duration = Duration::from_millis(500);

/// A connection to ask.
pub struct Survey {
    client: Client,
    limit: Duration,
    /// Why the runtime would not use this server, though it can be asked.
    pub refused: Option<String>,
    is_silent: AtomicBool,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// What the server says.
    pub why: String,
    /// Whether a grant is missing.
    pub is_denied: bool,
}

/// What came of one question.
pub type Answer<T> = Result<T, Unanswered>;

/// The server, and who we are there.
#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    /// As people write it.
    pub version: String,
    /// As `server_version_num`.
    pub version_num: i32,
    /// Of the server, which is that of the database.
    pub encoding: String,
    /// Its name.
    pub database: String,
    /// Who we are.
    pub user: String,
    /// Whether that is a superuser.
    pub is_superuser: bool,
    /// Whether it follows another server.
    pub is_replica: bool,
    /// Whether sessions may not write unless they say so.
    pub is_read_only: bool,
    /// Sessions of all.
    pub sessions: i64,
    /// Sessions of this role.
    pub own_sessions: i64,
    /// How many this role may have; -1: no limit.
    pub role_limit: i64,
    /// How many this database may have; -1: no limit.
    pub database_limit: i64,
    /// What a fresh session is given, in the server's base units.
    pub settings: BTreeMap<String, Option<String>>,
}

/// Avouch's group roles.
#[derive(Clone, Debug, Deserialize)]
pub struct Roles {
    /// Those that do not exist.
    pub missing: Vec<String>,
    /// Those whose rights we have.
    pub member_of: Vec<String>,
    /// Who owns the functions.
    pub owner: Option<String>,
    /// Whether the owner sees what others' sessions do.
    pub owner_sees_all: bool,
}

/// One table.
#[derive(Clone, Debug, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Rows, estimated.
    pub live: i64,
    /// Row versions that nobody needs any more, estimated.
    pub dead: i64,
    /// Since they were removed last, in seconds.
    pub vacuumed_s: Option<f64>,
    /// `name=value`.
    pub options: Vec<String>,
    /// Its size.
    pub bytes: i64,
}

/// What keeps old row versions.
#[derive(Clone, Debug, Deserialize)]
pub struct Pin {
    /// A session, prepared transaction or slot.
    pub holder: String,
    /// Whose that is.
    pub what: String,
    /// For how long, in seconds.
    pub seconds: f64,
}

/// A transaction that was prepared and not ended.
#[derive(Clone, Debug, Deserialize)]
pub struct Prepared {
    /// Its name.
    pub gid: String,
    /// Who prepared it.
    pub owner: String,
    /// When, in seconds from now.
    pub seconds: f64,
}

/// A replication slot.
#[derive(Clone, Debug, Deserialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether somebody reads it now.
    pub is_read: bool,
    /// Which process serves who reads it.
    pub pid: Option<i32>,
    /// What of its WAL is there: reserved, extended, unreserved, lost.
    pub state: String,
    /// How many transactions ago the oldest row versions were made that it keeps, if it keeps any.
    pub xmin_age: Option<i64>,
    /// Bytes of WAL that it keeps.
    pub kept_bytes: i64,
}

/// How far a database is on the way to a wraparound.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Age {
    /// Transaction ids.
    pub xids: i64,
    /// Ids of groups of lock holders.
    pub multixacts: i64,
    /// From where on tables are vacuumed because of that.
    pub xids_freeze: i64,
    /// The same for the others.
    pub multixacts_freeze: i64,
}

/// Who is told of commits before they are safe.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Commits {
    /// What the server gives to whom nothing else is set; none: it cannot be told.
    pub server: Option<String>,
    /// Whether commits are to wait for standbys.
    pub has_standbys: bool,
    /// Roles that log in and may insert messages.
    pub producers: Vec<String>,
    /// What is set for roles and for the database.
    pub set: Vec<CommitsOf>,
}

/// A setting of `synchronous_commit`.
#[derive(Clone, Debug, Deserialize)]
pub struct CommitsOf {
    /// For this role; none: for all.
    pub role: Option<String>,
    /// In this database alone.
    pub is_here: bool,
    /// What it is set to.
    pub value: String,
}

/// The role of a plugin's statements.
#[derive(Clone, Debug, Deserialize)]
pub struct BindingRole {
    /// Its name.
    pub user: String,
    /// Whether it may do anything.
    pub is_superuser: bool,
    /// Avouch's roles that it is in.
    pub avouch_roles: Vec<String>,
    /// Some of the tables that it could write to.
    pub writes: Vec<String>,
}

impl Survey {
    /// Connects to the server that the runtime would use, or else to one that it would not. Each question may take `limit`.
    pub async fn open(target: &Target, limit: Duration) -> Result<Self, Error> {
        let (connected, refused) = match target.connect().await {
            Ok(connected) => (connected, None),
            Err(e) => (target.connect_to_any().await.map_err(|_| Error::Retry(e.to_string()))?, Some(e.to_string())),
        };
        let (client, connection) = connected;
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "the survey's connection ended");
            }
        });
        Ok(Self { client, limit, refused, is_silent: AtomicBool::new(false) })
    }

    /// The server, and who we are there.
    pub async fn server(&self) -> Answer<Server> {
        self.ask(include_str!("survey/server.sql")).await
    }

    /// How commits are waited for.
    pub async fn commits(&self) -> Answer<Commits> {
        self.ask(include_str!("survey/commits.sql")).await
    }

    /// The server's clock, in ms since 1970.
    pub async fn now_ms(&self) -> Answer<i64> {
        self.ask("select (extract(epoch from clock_timestamp()) * 1000)::bigint").await
    }

    /// Avouch's roles.
    pub async fn roles(&self) -> Answer<Roles> {
        self.ask(include_str!("survey/roles.sql")).await
    }

    /// Avouch's tables.
    pub async fn tables(&self) -> Answer<Vec<Table>> {
        self.ask(include_str!("survey/tables.sql")).await
    }

    /// What keeps old row versions for longer than this.
    pub async fn pins(&self, older_than: Duration) -> Answer<Vec<Pin>> {
        self.ask(&include_str!("survey/pins.sql").replace("($1 *", &format!("({} *", older_than.as_millis()))).await
    }

    /// Prepared transactions, oldest first.
    pub async fn prepared(&self) -> Answer<Vec<Prepared>> {
        self.ask(include_str!("survey/prepared.sql")).await
    }

    /// Replication slots.
    pub async fn slots(&self) -> Answer<Vec<Slot>> {
        self.ask(include_str!("survey/slots.sql")).await
    }

    /// How near a wraparound is.
    pub async fn age(&self) -> Answer<Age> {
        self.ask(include_str!("survey/age.sql")).await
    }

    /// What the tables say.
    pub async fn books(&self) -> Answer<Books> {
        self.ask(include_str!("survey/books.sql")).await
    }

    /// Who we are, where plugins' statements run.
    pub async fn binding_role(&self) -> Answer<BindingRole> {
        self.ask(include_str!("survey/binding.sql")).await
    }

    /// One JSON document, from a transaction of its own that is rolled back.
    async fn ask<T: DeserializeOwned>(&self, sql: &str) -> Answer<T> {
        if self.is_silent.load(Ordering::Relaxed) {
            return Err(unanswered("the server did not answer an earlier question in time"));
        }
        let limit_ms = self.limit.as_millis();
        let text = format!("begin read only; set local statement_timeout = {limit_ms};\n{sql}\n;rollback");
        let Ok(told) = tokio::time::timeout(self.limit + ANSWER, self.client.simple_query(&text)).await else {
            self.is_silent.store(true, Ordering::Relaxed);
            return Err(unanswered(&format!("the server did not answer within {limit_ms} ms")));
        };
        let messages = match told {
            Ok(messages) => messages,
            Err(e) => {
                self.roll_back().await;
                return Err(refusal(&e));
            }
        };
        let row = messages.iter().find_map(|m| match m {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let row = row.ok_or_else(|| unanswered("the server gave no row"))?;
        serde_json::from_str(row).map_err(|e| unanswered(&format!("the answer cannot be read: {e}")))
    }

    /// What failed leaves its transaction open.
    async fn roll_back(&self) {
        let rolled_back = tokio::time::timeout(self.limit, self.client.batch_execute("rollback")).await;
        if !matches!(rolled_back, Ok(Ok(()))) {
            self.is_silent.store(true, Ordering::Relaxed);
        }
    }
}

fn unanswered(why: &str) -> Unanswered {
    Unanswered { why: why.to_owned(), is_denied: false }
}

fn refusal(e: &tokio_postgres::Error) -> Unanswered {
    match e.as_db_error() {
        Some(db) => Unanswered {
            why: format!("{} ({})", db.message(), db.code().code()),
            is_denied: *db.code() == SqlState::INSUFFICIENT_PRIVILEGE,
        },
        None => unanswered(&full_text(e)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_link_of_the_store_is_counted() {
        let links = include_str!("../store.rs").matches(": Link,").count();
        assert_eq!(i64::try_from(links), Ok(LINKS), "count the links of the store anew");
        let receivers = include_str!("receivers.rs").split("self.").skip(1);
        let links: BTreeSet<_> =
            receivers.filter_map(|rest| rest.split_once(".query(")).map(|(link, _)| link).collect();
        assert_eq!(i64::try_from(links.len()), Ok(RECEIVERS_SESSIONS_MAX), "{links:?}: count them anew");
    }
}
