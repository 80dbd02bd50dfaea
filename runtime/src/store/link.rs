//! One connection of the runtime's own, made again when it is lost; statements are prepared once a connection.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::Error;
use super::connect::Target;
use crate::meters::Connections;

/// Serial use of one connection: a second caller waits for the first.
pub struct Link {
    target: Target,
    timeout: Duration,
    plans: Plans,
    is_impatient: bool,
    session: Mutex<Option<Session>>,
    sessions: AtomicU64,
    connections: Connections,
}

struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

/// How statements are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plans {
    /// By index, once a connection: an outbox is empty at one moment and has a million rows the next, so statistics only
    /// mislead. Needs a connection of one's own, because the settings stay in the session.
    Fixed,
    /// As the server likes: behind a pooler, settings would leak into the sessions of others.
    Free,
}

/// What [`Plans::Fixed`] sets.
pub const FIXED_PLANS: &str = "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; \
                           set enable_bitmapscan = off; set enable_memoize = off; set plan_cache_mode = force_generic_plan; set jit = off";

/// A statement of the runtime's own is over in a fraction of this.
const IMPATIENCE: &str = "set lock_timeout = '100ms'";

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Link {
    /// A link that connects at its first use; each statement may take `timeout`.
    pub fn new(target: Target, timeout: Duration, plans: Plans, connections: Connections) -> Self {
        let (session, sessions) = (Mutex::new(None), AtomicU64::new(0));
        Self { target, timeout, plans, is_impatient: false, session, sessions, connections }
    }

    /// With a short `lock_timeout`: what others hold for long is not waited for. Behind a pooler, where settings would leak, it
    /// waits like any other.
    pub fn impatient(self) -> Self {
        Self { is_impatient: true, ..self }
    }

    /// How often it has connected. A database that was left may come back with another past.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Acquire)
    }

    /// Runs a statement and returns its rows.
    pub async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        Ok(self.ask(sql, params).await??)
    }

    /// Runs what somebody asks for, with their values: what the server says against those is a refusal.
    pub async fn request(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.ask(sql, params).await?.map_err(Error::of_request)
    }

    /// Runs a statement; what the server says against it comes back as it is, for callers to whom a refusal is an answer.
    pub async fn ask(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Result<Vec<Row>, tokio_postgres::Error>, Error> {
        self.run(sql, async |client: &Client, statement: &Statement| client.query(statement, params).await).await
    }

    /// Runs a statement and returns how many rows it touched.
    pub async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64, Error> {
        let run = self.run(sql, async |client: &Client, statement: &Statement| client.execute(statement, params).await);
        Ok(run.await??)
    }

    async fn run<T>(
        &self,
        sql: &'static str,
        call: impl AsyncFnOnce(&Client, &Statement) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Result<T, tokio_postgres::Error>, Error> {
        let mut guard = self.session.lock().await;
        // Taken out while it is in use: a caller that gives up mid-way leaves no half-used connection behind.
        let taken = guard.take().filter(|s| !s.client.is_closed());
        let attempt = async {
            let mut session = match taken {
                Some(session) => session,
                None => self.open().await?,
            };
            let statement = session.prepared(sql).await?;
            let result = call(&session.client, &statement).await;
            Ok::<_, Error>((session, result))
        };
        let (session, result) = within(self.timeout, attempt).await?;
        if !session.client.is_closed() && !result.as_ref().is_err_and(forgot) {
            *guard = Some(session);
        }
        Ok(result)
    }

    async fn open(&self) -> Result<Session, Error> {
        let (client, connection) = self.target.connect().await?;
        self.sessions.fetch_add(1, Ordering::AcqRel);
        let open = self.connections.opened();
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a connection to Postgres ended");
            }
            drop(open);
        });
        if self.plans == Plans::Fixed {
            client.batch_execute(FIXED_PLANS).await?;
            if self.is_impatient {
                client.batch_execute(IMPATIENCE).await?;
            }
        }
        Ok(Session { client, statements: HashMap::new() })
    }
}

impl Session {
    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

/// The server no longer knows a prepared statement, or may not plan it again: the next session prepares it anew.
fn forgot(e: &tokio_postgres::Error) -> bool {
    let plan_outlived_its_table = e.as_db_error().is_some_and(|e| e.message().starts_with("cached plan"));
    e.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME) || plan_outlived_its_table
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Retry(format!("Postgres did not answer within {} ms", limit.as_millis()))),
    }
}
