//! What a producer knows of a transaction when its connection breaks: whether it happened, did not, or may have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::Severity;
use tokio_postgres::{Client, Error};

use crate::facts::Fate;
use crate::stage::connect;

/// Nothing that a producer asks takes so long, unless something is broken: it goes away then.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How a transaction is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Commit,
    Rollback,
}

/// Why a statement has no good answer.
#[derive(Debug)]
pub enum Trouble {
    Told(Error),
    Silence,
}

/// A producer's connection. Once it did not answer it is not asked again: who knows what it still does.
pub struct Session {
    client: Client,
    is_silent: AtomicBool,
}

impl Session {
    /// None: there is no server at the moment.
    pub async fn open(url: &str) -> Option<Self> {
        Some(Self { client: connect(url).await.ok()?, is_silent: AtomicBool::new(false) })
    }

    pub fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.is_silent.load(Ordering::Relaxed)
    }

    /// Runs the statements, and then commits or rolls back.
    pub async fn run(&self, statements: &str, end: End) -> Fate {
        if let Err(trouble) = self.ask(&format!("begin; {statements}")).await {
            if matches!(trouble, Trouble::Told(_)) {
                // The session may be used again.
                drop(self.ask("rollback").await);
            }
            // The commit was never sent.
            return Fate::Never;
        }
        match end {
            End::Rollback => {
                // Whatever becomes of it, there was no commit.
                drop(self.ask("rollback").await);
                Fate::Never
            }
            End::Commit => fate(&self.ask("commit").await),
        }
    }

    /// A statement, or several; no answer in time is trouble as well.
    pub async fn ask(&self, sql: &str) -> Result<(), Trouble> {
        match timeout(ANSWER_MAX, self.client.batch_execute(sql)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::Told(error)),
            Err(_) => {
                self.is_silent.store(true, Ordering::Relaxed);
                Err(Trouble::Silence)
            }
        }
    }
}

/// An ordinary error aborts the transaction. A session that ends while it commits leaves everything open.
fn fate(commit: &Result<(), Trouble>) -> Fate {
    let severity = match commit {
        Ok(()) => return Fate::Must,
        Err(Trouble::Told(error)) => error.as_db_error().and_then(|e| e.parsed_severity()),
        Err(Trouble::Silence) => None,
    };
    if severity == Some(Severity::Error) { Fate::Never } else { Fate::May }
}
