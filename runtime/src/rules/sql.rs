//! The capability `sql`: declared statements, read only, on connections of a role of its own, which are reset after each query.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use metrics::{Gauge, Histogram};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use super::Error;
use super::v1::RuleError;
use crate::secret::Secret;
use crate::store::connect::{Target, Tls};
use crate::store::full_text;

/// `[binding.sql.NAME]`: a database that plugins may be granted.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where, and as which role: one of its own, with SELECT on what the statements need.
    pub url: Secret,
    /// TLS to this database.
    #[serde(default)]
    pub tls: Tls,
    /// Connections of each runtime process.
    #[serde(default = "connections_max")]
    pub connections_max: usize,
    /// How long making a connection may take.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
}

/// A check takes about a millisecond of a connection.
fn connections_max() -> usize {
    4
}

/// A call waits for it.
fn connect_timeout_ms() -> u64 {
    2_000
}

/// Connections to one database, made when they are needed.
pub struct Database {
    name: String,
    target: Target,
    idle: Mutex<Vec<Session>>,
    room: Semaphore,
    meters: Meters,
}

/// What is counted of its connections.
struct Meters {
    used: Gauge,
    wait: Histogram,
}

/// A query that waits for a connection; also one that is given up has waited.
struct Waiting<'a> {
    since: Instant,
    wait: &'a Histogram,
}

/// Room for one query.
struct Room<'a> {
    _permit: SemaphorePermit<'a>,
    used: &'a Gauge,
}

struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
}

/// How long a cancelled statement's answer may take.
const ANSWER: Duration = Duration::from_millis(10);
/// Statements that a connection remembers.
const STATEMENTS_MAX: usize = 100;
/// What parsing may wait for: Postgres does not notice that a call has been given up while it waits for a lock.
const PARSE_MS: u64 = 5_000;
/// What the connection's role must not be.
const ROLE: &str = "select case \
    when rolsuper then 'a superuser' \
    when has_table_privilege(oid, 'pg_catalog.pg_authid', 'select') then 'able to read password hashes' \
    when exists (select from pg_catalog.pg_roles r where r.rolname like 'avouch\\_%' and pg_catalog.pg_has_role(pg_roles.oid, r.oid, 'member')) \
      then 'a member of an avouch role' \
    end from pg_catalog.pg_roles where rolname = current_user";

/// Functions in the parsed form of a statement that Postgres calls volatile.
const VOLATILE: &str = "select distinct p.oid::regprocedure::text \
    from pg_catalog.pg_proc f \
    cross join lateral pg_catalog.regexp_matches(f.prosqlbody::text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g') m \
    join pg_catalog.pg_proc p on p.oid = m[1]::oid \
    where f.proname = $1 and p.provolatile = 'v' and not (p.pronamespace = 'pg_catalog'::regnamespace and p.proname = any ($2))";
/// Whether its parsed form locks rows.
const LOCKS: &str =
    "select f.prosqlbody::text like '%:hasForUpdate true%' from pg_catalog.pg_proc f where f.proname = $1";
/// Volatile, because they differ from call to call; they change nothing.
const HARMLESS: &[&str] = &["random", "clock_timestamp", "gen_random_uuid", "timeofday"];

impl Database {
    /// Reads the settings; connects at the first query. `label` is what it is called where it is counted.
    pub fn new(name: &str, config: &Config, label: &str) -> Result<Self, Error> {
        let timeout = Duration::from_millis(config.connect_timeout_ms);
        let target = Target::new(&config.url, &config.tls, "avouch plugin", timeout)
            .map_err(|e| Error::Fatal(format!("binding.sql.{name}: {e}")))?;
        let room = Semaphore::new(config.connections_max.max(1));
        Ok(Self { name: name.to_owned(), target, idle: Mutex::default(), room, meters: Meters::of(label) })
    }

    /// Rows as JSON objects: see the WIT. A query that is given up takes its connection with it.
    pub async fn query(
        &self,
        sql: &str,
        params: &[Option<String>],
        rows_max: usize,
        bytes_max: usize,
        left: Duration,
    ) -> Result<Vec<String>, RuleError> {
        let late = || RuleError::Transient(format!("binding sql:{} did not answer within the call's time", self.name));
        // The server cancels first, and the connection lives on.
        tokio::time::timeout(left + ANSWER, self.query_now(sql, params, rows_max, bytes_max, left))
            .await
            .map_err(|_| late())?
    }

    async fn query_now(
        &self,
        sql: &str,
        params: &[Option<String>],
        rows_max: usize,
        bytes_max: usize,
        left: Duration,
    ) -> Result<Vec<String>, RuleError> {
        let _room = self.room().await?;
        let idle = self.idle.lock().await.pop();
        let mut session = match idle.filter(|s| !s.client.is_closed()) {
            Some(session) => session,
            None => self.connect().await?,
        };
        let statement = session.prepared(&wrapped(sql, rows_max, bytes_max)).await.map_err(|e| self.explain(&e))?;
        if statement.params().len() != params.len() {
            let (wanted, given) = (statement.params().len(), params.len());
            self.idle.lock().await.push(session);
            return Err(RuleError::Permanent(format!("the statement takes {wanted} parameters, not {given}")));
        }
        let params: Vec<Text<'_>> = params.iter().map(|p| Text(p.as_deref())).collect();
        let client = &session.client;
        // Sent together, answered in order: one round trip. What the statement set, locked or announced goes with the rollback
        // and the unlocking, whatever it called.
        let begin = format!("begin read only; set local statement_timeout = {}", left.as_millis().max(1));
        let rows = async {
            let stream = client.query_raw(&statement, params.iter().map(|p| p as &(dyn ToSql + Sync))).await?;
            let mut stream = std::pin::pin!(stream);
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while let Some(row) = stream.try_next().await? {
                let text: String = row.try_get(0)?;
                bytes += text.len();
                if rows.len() < rows_max.saturating_add(1) && bytes <= bytes_max {
                    rows.push(text);
                }
            }
            Ok::<_, tokio_postgres::Error>((rows, bytes))
        };
        let reset = "rollback; select pg_catalog.pg_advisory_unlock_all()";
        let (begun, rows, reset) = tokio::join!(client.batch_execute(&begin), rows, client.batch_execute(reset));
        if let Err(e) = begun.and(reset) {
            // The connection is dropped: nobody knows what is left in it.
            return Err(self.explain(&e));
        }
        self.idle.lock().await.push(session);
        let (rows, bytes) = rows.map_err(|e| self.explain(&e))?;
        if rows.len() > rows_max {
            return Err(RuleError::Permanent(format!("more rows than rules.sql_rows_max = {rows_max}")));
        }
        if bytes > bytes_max {
            return Err(RuleError::Permanent(format!("more bytes than rules.bytes_in_max = {bytes_max}")));
        }
        Ok(rows)
    }

    /// Why a statement may not be granted. Postgres itself names what it calls: the statement becomes the body of a temporary
    /// function, whose parsed form lists the functions. (What those call in turn, the READ ONLY transaction and the reset
    /// bound.)
    pub async fn vet(&self, sql: &str) -> Result<(), String> {
        let session = self.connect().await.map_err(|e| format!("{e:?}"))?;
        let text = |e: tokio_postgres::Error| match self.explain(&e) {
            RuleError::Transient(why) | RuleError::Permanent(why) | RuleError::Denied(why) => why,
        };
        let wrapped = wrapped(sql, 1, 1);
        let statement = session.client.prepare(&wrapped).await.map_err(text)?;
        let types: Vec<String> =
            statement.params().iter().map(|t| format!("\"{}\".\"{}\"", t.schema(), t.name())).collect();
        let name = format!("avouch_vet_{}", uuid::Uuid::now_v7().simple());
        let create = format!(
            "begin read write; create function pg_temp.{name} ({}) returns setof text language sql begin atomic {wrapped}; end",
            types.join(", ")
        );
        session.client.batch_execute(&create).await.map_err(text)?;
        if session.client.query_one(LOCKS, &[&name]).await.map_err(text)?.get(0) {
            return Err("it locks rows (for update, for share): a checker only reads".to_owned());
        }
        let volatile = session.client.query(VOLATILE, &[&name, &HARMLESS]).await.map_err(text)?;
        // The connection ends here, and the function with it.
        let names: Vec<String> = volatile.iter().map(|row| row.get(0)).collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "it calls {}, which may have effects: a checker only reads (a function of yours that only reads can be declared stable)",
                names.join(", ")
            )),
        }
    }

    async fn room(&self) -> Result<Room<'_>, RuleError> {
        let waiting = Waiting { since: Instant::now(), wait: &self.meters.wait };
        let permit = self.room.acquire().await.map_err(|e| RuleError::Transient(e.to_string()))?;
        drop(waiting);
        self.meters.used.increment(1.0);
        Ok(Room { _permit: permit, used: &self.meters.used })
    }

    async fn connect(&self) -> Result<Session, RuleError> {
        let away = |why: String| RuleError::Transient(format!("binding sql:{}: {why}", self.name));
        let (client, connection) = self.target.connect().await.map_err(|e| away(e.to_string()))?;
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a plugin's connection to Postgres ended");
            }
        });
        client
            .batch_execute(&format!(
                "set default_transaction_read_only = on; set idle_in_transaction_session_timeout = '10s'; \
                 set statement_timeout = {PARSE_MS}"
            ))
            .await
            .map_err(|e| self.explain(&e))?;
        let role = client.query_one(ROLE, &[]).await.map_err(|e| self.explain(&e))?;
        match role.get::<_, Option<String>>(0) {
            None => Ok(Session { client, statements: HashMap::new() }),
            Some(what) => Err(RuleError::Denied(format!(
                "binding sql:{} connects as {what}: give it a role of its own that may only select what the statements need",
                self.name
            ))),
        }
    }

    fn explain(&self, e: &tokio_postgres::Error) -> RuleError {
        let Some(db) = e.as_db_error() else {
            return RuleError::Transient(format!("binding sql:{}: {}", self.name, full_text(e)));
        };
        let text = format!("binding sql:{}: {} ({})", self.name, db.message(), db.code().code());
        match db.code() {
            code if *code == SqlState::READ_ONLY_SQL_TRANSACTION || code.code().starts_with("42") => {
                RuleError::Denied(text)
            }
            code if code.code().starts_with("22") => RuleError::Permanent(text),
            _ => RuleError::Transient(text),
        }
    }
}

impl Meters {
    fn of(binding: &str) -> Self {
        let used = metrics::gauge!("avouch_binding_connections_used", "binding" => binding.to_owned());
        used.set(0.0);
        Self { used, wait: metrics::histogram!("avouch_binding_wait_seconds", "binding" => binding.to_owned()) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.wait.record(self.since.elapsed());
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.used.decrement(1.0);
    }
}

impl Session {
    async fn prepared(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// As a subquery, it can be one query only, and nothing that writes. A row is cut where it is too long anyway: it is held in
/// memory whole before it can be counted.
pub fn wrapped(sql: &str, rows_max: usize, bytes_max: usize) -> String {
    let chars_max = i32::try_from(bytes_max.saturating_add(1)).unwrap_or(i32::MAX);
    format!(
        "select pg_catalog.left(pg_catalog.row_to_json(r.*)::text, {chars_max}) from (\n{sql}\n) r limit {}",
        rows_max.saturating_add(1)
    )
}

/// A parameter in Postgres's text form: the server reads it as the type that the statement wants.
#[derive(Debug)]
struct Text<'a>(Option<&'a str>);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
