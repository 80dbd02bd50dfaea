//! Whether a Postgres server, and the role that we are there, serve the runtime well.

use super::finding::{Area, Finding};
use super::{commits, holders};
use crate::config::Config;
use crate::store::survey::{
    Age, Answer, Commits, Pin, Prepared, RECEIVERS_SESSIONS_MAX, Roles, SESSIONS_MAX, Server, Slot, Table,
};

pub const HERE: Area = Area::Postgres;
/// What schema.sql installs into and the tests run on.
const SERVED: std::ops::RangeInclusive<i32> = 14..=18;
/// The last release of a major version comes in November of these years.
const LAST_YEAR: &[(i32, i32)] = &[(14, 2026), (15, 2027), (16, 2028), (17, 2029), (18, 2030)];
/// Before it, CREATE INDEX CONCURRENTLY corrupted indexes.
const FIRST_GOOD_14: i32 = 140_004;
/// So many dead row versions of a small table are cleaned within a minute of work.
const DEAD_ROWS_MIN: i64 = 50_000;
/// Half of the ids are left.
const XIDS_MAX: i64 = 1_000_000_000;

/// What was asked of the server.
pub struct Facts {
    pub server: Answer<Server>,
    pub commits: Answer<Commits>,
    pub roles: Answer<Roles>,
    pub tables: Answer<Vec<Table>>,
    pub pins: Answer<Vec<Pin>>,
    pub prepared: Answer<Vec<Prepared>>,
    pub slots: Answer<Vec<Slot>>,
    pub age: Answer<Age>,
}

/// All that follows from them.
pub fn judge(config: &Config, source: &str, facts: &Facts) -> Vec<Finding> {
    let statement_ms = config.source.get(source).map_or(0, |s| s.statement_timeout_ms);
    let polls = config.doorbell.mode == crate::doorbell::Mode::Off;
    let sessions_max = sessions_max(config, source);
    let mut findings = Vec::new();
    findings.extend(answered("server", &facts.server, |s| server(s, (statement_ms, sessions_max), polls)));
    findings.extend(answered("synchronous_commit", &facts.commits, |c| {
        commits::judge(c, facts.server.as_ref().ok(), config.is_served(source))
    }));
    let is_superuser = facts.server.as_ref().is_ok_and(|s| s.is_superuser);
    let user = facts.server.as_ref().map_or("", |s| &s.user);
    findings.extend(answered("roles", &facts.roles, |r| roles(r, user, is_superuser)));
    findings.extend(answered("tables", &facts.tables, |t| t.iter().flat_map(table).collect()));
    findings
        .extend(answered("prepared_transactions", &facts.prepared, |p| holders::prepared(p, snapshot_max_s(config))));
    findings.extend(answered("snapshots", &facts.pins, |p| holders::pins(p)));
    findings.extend(answered("replication_slots", &facts.slots, |s| holders::slots(s)));
    findings.extend(answered("wraparound", &facts.age, |a| vec![age(a)]));
    findings
}

/// Sessions that a runtime with this configuration has in this database.
fn sessions_max(config: &Config, source: &str) -> i64 {
    let answers_receivers = config.notify.listen.is_some() && config.notifies(source);
    SESSIONS_MAX + if answers_receivers { RECEIVERS_SESSIONS_MAX } else { 0 }
}

/// From how many seconds on something is held for long.
pub fn snapshot_max_s(config: &Config) -> u64 {
    // 0 switches the alarm off, and nobody wants to know of every transaction.
    if config.upkeep.snapshot_max_s == 0 { 300 } else { config.upkeep.snapshot_max_s }
}

/// What follows, or that it could not be looked at; or, if nothing is wrong, that.
fn answered<T>(check: &'static str, answer: &Answer<T>, judge: impl FnOnce(&T) -> Vec<Finding>) -> Vec<Finding> {
    let name = check.replace('_', " ");
    match answer {
        Err(why) => vec![HERE.unknown(check, &name, why)],
        Ok(facts) => {
            let findings = judge(facts);
            if findings.is_empty() { vec![HERE.fine(check, &name, "in order")] } else { findings }
        }
    }
}

fn server(s: &Server, (statement_ms, sessions_max): (u64, i64), polls: bool) -> Vec<Finding> {
    let mut findings = vec![version(s)];
    findings.extend(settings(s));
    findings.extend(limits(s, statement_ms, sessions_max));
    if s.is_replica {
        let meaning = "this server is a replica: the runtime never works on one";
        findings.push(HERE.problem(
            "replica",
            &s.database,
            meaning,
            "name the primary in the url, or all hosts: the writable one is used",
        ));
    } else if s.is_read_only {
        let meaning = "default_transaction_read_only is on for this role or database: the runtime does not use it";
        findings.push(HERE.problem(
            "read_only",
            &s.database,
            meaning,
            "alter role … reset default_transaction_read_only, or of the database",
        ));
    }
    if s.encoding != "UTF8" {
        let meaning = format!("the encoding is {}: messages are UTF-8", s.encoding);
        let remedy = "create the database anew: create database … encoding 'UTF8' template template0";
        findings.push(HERE.problem("encoding", &s.database, &meaning, remedy));
    }
    if s.is_superuser {
        let meaning = "the runtime is a superuser here: whoever takes it over has the whole cluster";
        let remedy = "create role avouch_relay login in role avouch_runtime, and use that in the url";
        findings.push(HERE.warning("superuser", &format!("role {}", s.user), meaning, remedy));
    }
    if polls && is(s, "jit", "on") {
        let meaning = "jit is on, and with doorbell.mode = \"off\" the runtime does not switch it off: short statements take longer";
        findings.push(HERE.note("jit", "jit", meaning, &format!("alter role {} set jit = off", s.user)));
    }
    findings
}

fn version(s: &Server) -> Finding {
    let (major, object) = (s.version_num / 10_000, format!("Postgres {}", s.version));
    let year = LAST_YEAR.iter().find(|(m, _)| *m == major).map(|(_, year)| year);
    match year {
        _ if major < *SERVED.start() => {
            HERE.problem("version", &object, "Avouch needs Postgres 14 or newer", "upgrade the server")
        }
        _ if s.version_num / 10_000 == 14 && s.version_num < FIRST_GOOD_14 => {
            let meaning = "before 14.4, create index concurrently and reindex concurrently corrupt indexes";
            HERE.warning("version", &object, meaning, "install the newest 14, and reindex what was built so")
        }
        None => HERE.note("version", &object, "Avouch is tested with Postgres 14 to 18", "look for a newer Avouch"),
        Some(year) => {
            HERE.fine("version", &object, &format!("supported; its community maintains it until November {year}"))
        }
    }
}

fn settings(s: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    if is(s, "fsync", "off") {
        let meaning = "fsync is off: a crash of the machine can destroy the database, messages and all";
        findings.push(HERE.problem("fsync", "fsync", meaning, "alter system set fsync = on, and reload"));
    }
    if is(s, "full_page_writes", "off") {
        let meaning = "full_page_writes is off: a crash in the middle of a page destroys it, unless the file system writes pages whole";
        findings.push(HERE.warning(
            "full_page_writes",
            "full_page_writes",
            meaning,
            "alter system set full_page_writes = on, and reload",
        ));
    }
    if is(s, "autovacuum", "off") || is(s, "track_counts", "off") {
        let meaning = "autovacuum is off: the outbox grows, and its reads get slower with each message";
        findings.push(HERE.problem(
            "autovacuum",
            "autovacuum",
            meaning,
            "alter system set autovacuum = on, track_counts = on, and reload",
        ));
    }
    if is(s, "idle_in_transaction_session_timeout", "0") {
        let meaning = "a client that forgets an open transaction keeps old row versions for as long as it lives";
        let remedy = "alter database … set idle_in_transaction_session_timeout = '5min'";
        findings.push(HERE.note("idle_in_transaction", "idle_in_transaction_session_timeout", meaning, remedy));
    }
    findings
}

fn limits(s: &Server, statement_ms: u64, sessions_max: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let number = |name| s.settings.get(name).and_then(|v| v.as_deref()?.parse::<i64>().ok()).unwrap_or(0);
    let kept = number("superuser_reserved_connections") + number("reserved_connections");
    // A runtime that runs has its sessions already.
    let free = number("max_connections") - kept - s.sessions + s.own_sessions.min(sessions_max);
    if free < sessions_max {
        let meaning = format!("{free} connections are left for a runtime, which opens up to {sessions_max}");
        findings.push(HERE.warning(
            "connections",
            "max_connections",
            &meaning,
            "raise max_connections, or put a pooler before the producers",
        ));
    }
    for (limit, object) in
        [(s.role_limit, format!("role {}", s.user)), (s.database_limit, format!("database {}", s.database))]
    {
        if (0..sessions_max).contains(&limit) && !s.is_superuser {
            let meaning = format!("its connection limit is {limit}, and a runtime opens up to {sessions_max}");
            findings.push(HERE.warning(
                "connections",
                &object,
                &meaning,
                &format!("alter {object} connection limit -1"),
            ));
        }
    }
    let timeout = number("statement_timeout");
    if timeout > 0 && u64::try_from(timeout).is_ok_and(|ms| ms < statement_ms) {
        let meaning = format!(
            "statement_timeout is {timeout} ms for this role: a long look behind a held snapshot ends early, again and again"
        );
        let remedy = format!(
            "alter role {} set statement_timeout = 0: source.NAME.statement_timeout_ms ({statement_ms}) bounds it",
            s.user
        );
        findings.push(HERE.warning("statement_timeout", "statement_timeout", &meaning, &remedy));
    }
    findings
}

fn is(s: &Server, name: &str, value: &str) -> bool {
    s.settings.get(name).is_some_and(|v| v.as_deref() == Some(value))
}

fn roles(r: &Roles, user: &str, is_superuser: bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> = r
        .missing
        .iter()
        .map(|role| HERE.problem("roles", &format!("role {role}"), "it does not exist", "run avouch schema install"))
        .collect();
    if !is_superuser && !r.member_of.iter().any(|role| role == "avouch_runtime") {
        let meaning = "it is not in avouch_runtime: avouch run cannot work as this role";
        findings.push(HERE.problem(
            "roles",
            &format!("role {user}"),
            meaning,
            &format!("grant avouch_runtime to {user}"),
        ));
    }
    if let Some(owner) = r.owner.as_ref().filter(|_| !r.owner_sees_all) {
        let meaning = "it owns avouch.pins and does not see what others' sessions do: who holds a snapshot is told of its own sessions alone";
        findings.push(HERE.note(
            "sees_sessions",
            &format!("role {owner}"),
            meaning,
            &format!("grant pg_read_all_stats to {owner}"),
        ));
    }
    findings
}

fn table(t: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    let object = format!("table avouch.{}", t.name);
    let option = |name: &str| t.options.iter().find_map(|o| o.strip_prefix(name)?.strip_prefix('='));
    if option("autovacuum_enabled").is_some_and(|v| ["false", "off", "0", "no"].contains(&v)) {
        let meaning = "autovacuum is switched off for it: it grows, and reads get slower with each message";
        let remedy = format!("alter table avouch.{} reset (autovacuum_enabled)", t.name);
        findings.push(HERE.problem("autovacuum", &object, meaning, &remedy));
    }
    let is_eager =
        option("autovacuum_vacuum_scale_factor").and_then(|v| v.parse().ok()).is_some_and(|v: f64| v <= 0.02);
    if ["outbox", "recovery", "inbox"].contains(&&*t.name) && !is_eager {
        let meaning = "it does not have the eager autovacuum settings that it is installed with: it is cleaned late";
        let remedy = format!("alter table avouch.{} set (autovacuum_vacuum_scale_factor = 0.02)", t.name);
        findings.push(HERE.warning("autovacuum", &object, meaning, &remedy));
    }
    if t.dead > DEAD_ROWS_MIN.max(t.live / 2) {
        let since = t.vacuumed_s.map_or_else(|| "never".to_owned(), |s| format!("{} ago", ago(s)));
        let meaning = format!(
            "about {} dead row versions beside {} live ones in {} MB; vacuumed {since}",
            t.dead,
            t.live,
            t.bytes >> 20
        );
        let remedy = format!(
            "end what holds a snapshot, if anything does; vacuum avouch.{}; raise autovacuum_max_workers",
            t.name
        );
        findings.push(HERE.warning("bloat", &object, &meaning, &remedy));
    }
    findings
}

fn age(a: &Age) -> Finding {
    let remedy =
        "end what holds old snapshots (sessions, prepared transactions, slots), then vacuum freeze the oldest tables";
    let meaning = format!("transaction ids are {} old, those of lock groups {}", a.xids, a.multixacts);
    let is_late = |age: i64, freeze: i64| age > freeze + freeze / 2;
    if a.xids.max(a.multixacts) > XIDS_MAX {
        HERE.problem(
            "wraparound",
            "transaction ids",
            &format!("{meaning}: at 2 billion the database stops writing"),
            remedy,
        )
    } else if is_late(a.xids, a.xids_freeze) || is_late(a.multixacts, a.multixacts_freeze) {
        HERE.warning("wraparound", "transaction ids", &format!("{meaning}: vacuuming does not keep up"), remedy)
    } else {
        HERE.fine("wraparound", "transaction ids", &meaning)
    }
}

/// As people say it.
pub fn ago(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests;
