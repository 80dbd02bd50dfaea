//! Each oddity of a server is told, alone, with its remedy.

use std::collections::BTreeMap;

use super::*;
use crate::cli::doctor::finding::Severity;
use crate::store::survey::Unanswered;

fn healthy() -> Facts {
    let settings = [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("autovacuum", "on"),
        ("track_counts", "on"),
        ("jit", "on"),
        ("max_connections", "100"),
        ("superuser_reserved_connections", "3"),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "300000"),
    ];
    let settings: BTreeMap<_, _> = settings.into_iter().map(|(n, v)| (n.to_owned(), Some(v.to_owned()))).collect();
    let server = Server {
        version: "17.5".into(),
        version_num: 170_005,
        encoding: "UTF8".into(),
        database: "shop".into(),
        user: "relay".into(),
        is_superuser: false,
        is_replica: false,
        is_read_only: false,
        sessions: 20,
        own_sessions: 10,
        role_limit: -1,
        database_limit: -1,
        settings,
    };
    let roles = Roles {
        missing: Vec::new(),
        member_of: vec!["avouch_runtime".into()],
        owner: Some("owner".into()),
        owner_sees_all: true,
    };
    let age = Age { xids: 1_000, multixacts: 1, xids_freeze: 200_000_000, multixacts_freeze: 400_000_000 };
    Facts {
        server: Ok(server),
        commits: Ok(Commits { server: Some("on".into()), ..Commits::default() }),
        roles: Ok(roles),
        tables: Ok(vec![outbox()]),
        pins: Ok(Vec::new()),
        prepared: Ok(Vec::new()),
        slots: Ok(Vec::new()),
        age: Ok(age),
    }
}

fn outbox() -> Table {
    let options = vec!["autovacuum_vacuum_scale_factor=0.02".to_owned()];
    Table { name: "outbox".into(), live: 1_000, dead: 100, vacuumed_s: Some(5.0), options, bytes: 1 << 20 }
}

fn judged(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let config = Config::parse("[source.main]\nurl = \"x\"").expect("is valid");
    let mut facts = healthy();
    change(&mut facts);
    judge(&config, "main", &facts).into_iter().filter(|f| f.severity != Severity::Ok).collect()
}

fn found(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Severity)> {
    judged(change).into_iter().map(|f| (f.check, f.severity)).collect()
}

fn of_server(change: impl FnOnce(&mut Server)) -> Vec<(&'static str, Severity)> {
    found(|facts| change(facts.server.as_mut().expect("it is answered")))
}

fn of_table(change: impl FnOnce(&mut Table)) -> Vec<(&'static str, Severity)> {
    let mut table = outbox();
    change(&mut table);
    found(|facts| facts.tables = Ok(vec![table]))
}

#[test]
fn healthy_server_has_nothing_but_order() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn each_oddity_of_a_server_is_told_alone() {
    use Severity::{Note, Problem, Warning};
    let set = |name: &'static str, value: &'static str| {
        of_server(move |s| drop(s.settings.insert(name.into(), Some(value.into()))))
    };
    assert_eq!(set("fsync", "off"), [("fsync", Problem)]);
    assert_eq!(set("full_page_writes", "off"), [("full_page_writes", Warning)]);
    assert_eq!(set("synchronous_commit", "off"), [("synchronous_commit", Warning)]);
    assert_eq!(set("autovacuum", "off"), [("autovacuum", Problem)]);
    assert_eq!(set("track_counts", "off"), [("autovacuum", Problem)]);
    assert_eq!(set("idle_in_transaction_session_timeout", "0"), [("idle_in_transaction", Note)]);
    assert_eq!(set("statement_timeout", "1000"), [("statement_timeout", Warning)]);
    assert_eq!(set("statement_timeout", "30000"), []);
    assert_eq!(set("max_connections", "30"), [("connections", Warning)]);
    assert_eq!(of_server(|s| s.role_limit = 5), [("connections", Warning)]);
    assert_eq!(of_server(|s| s.database_limit = 5), [("connections", Warning)]);
    assert_eq!(of_server(|s| s.is_superuser = true), [("superuser", Warning)]);
    assert_eq!(of_server(|s| s.is_replica = true), [("replica", Problem)]);
    assert_eq!(of_server(|s| s.is_read_only = true), [("read_only", Problem)]);
    assert_eq!(of_server(|s| s.encoding = "SQL_ASCII".into()), [("encoding", Problem)]);
    assert_eq!(of_server(|s| s.version_num = 130_020), [("version", Problem)]);
    assert_eq!(of_server(|s| s.version_num = 140_003), [("version", Warning)]);
    assert_eq!(of_server(|s| s.version_num = 190_000), [("version", Note)]);
}

#[test]
fn sessions_of_a_runtime_that_runs_are_not_missing() {
    let with = |own_sessions, receivers: &str| {
        let file = format!("[source.main]\nurl = \"x\"\n{receivers}");
        let config = Config::parse(&file).expect("is valid");
        let mut facts = healthy();
        let server = facts.server.as_mut().expect("it is answered");
        let kept = 3;
        (server.sessions, server.own_sessions) = (100 - kept - 2, own_sessions);
        let told = judge(&config, "main", &facts).into_iter().filter(|f| f.severity != Severity::Ok);
        told.map(|f| f.check).collect::<Vec<_>>()
    };
    assert_eq!(with(1, ""), ["connections"]);
    assert_eq!(with(SESSIONS_MAX - 2, ""), [] as [&str; 0]);
    let receivers = "[notify]\ntopics = [\"a\"]\nlisten = \"127.0.0.1:9181\"";
    assert_eq!(with(SESSIONS_MAX - 2, receivers), ["connections"]);
    assert_eq!(with(SESSIONS_MAX + RECEIVERS_SESSIONS_MAX - 2, receivers), [] as [&str; 0]);
    assert_eq!(with(90, receivers), [] as [&str; 0], "other programs of this role");
}

#[test]
fn roles_and_tables_are_told_with_what_to_type() {
    let roles = |change: fn(&mut Roles)| judged(|f| change(f.roles.as_mut().expect("it is answered")));
    let stranger = roles(|r| r.member_of.clear());
    assert_eq!(stranger[0].remedy.as_deref(), Some("grant avouch_runtime to relay"));
    assert_eq!(roles(|r| r.missing.push("avouch_viewer".into()))[0].severity, Severity::Problem);
    assert_eq!(roles(|r| r.owner_sees_all = false)[0].check, "sees_sessions");
    assert_eq!(of_table(|t| t.options.push("autovacuum_enabled=false".into())), [("autovacuum", Severity::Problem)]);
    assert_eq!(of_table(|t| t.options.clear()), [("autovacuum", Severity::Warning)]);
    assert_eq!(of_table(|t| t.dead = 60_000), [("bloat", Severity::Warning)]);
    assert_eq!(of_table(|t| (t.dead, t.live) = (60_000, 1_000_000)), []);
}

#[test]
fn what_keeps_old_rows_is_told_once_each() {
    let prepared = |seconds| Prepared { gid: "pay'1".into(), owner: "shop".into(), seconds };
    assert_eq!(found(|f| f.prepared = Ok(vec![prepared(10.0)])), [], "it is on its way");
    let pin = |holder: &str| Pin { holder: holder.into(), what: "user x".into(), seconds: 900.0 };
    let all = judged(|f| {
        f.prepared = Ok(vec![prepared(900.0)]);
        f.pins = Ok(vec![pin("session 42"), pin("prepared transaction pay'1"), pin("replication slot s")]);
        f.slots = Ok(vec![Slot {
            name: "s".into(),
            is_read: false,
            pid: None,
            state: "reserved".into(),
            xmin_age: Some(1),
            kept_bytes: 0,
        }]);
    });
    let checks: Vec<_> = all.iter().map(|f| f.check).collect();
    assert_eq!(checks, ["prepared_transaction", "snapshot_held", "replication_slot"]);
    assert!(all[0].remedy.as_ref().is_some_and(|r| r.contains("rollback prepared 'pay''1'")));
    assert!(all[1].remedy.as_ref().is_some_and(|r| r.contains("pg_terminate_backend(42)")));
}

#[test]
fn wraparound_is_told_before_it_is_one() {
    let of = |xids| found(|f| f.age.as_mut().expect("it is answered").xids = xids);
    assert_eq!(of(250_000_000), []);
    assert_eq!(of(310_000_000), [("wraparound", Severity::Warning)]);
    assert_eq!(of(1_500_000_000), [("wraparound", Severity::Problem)]);
}

#[test]
fn question_without_an_answer_is_a_finding_that_names_the_grant() {
    let denied = Unanswered { why: "permission denied for schema avouch (42501)".into(), is_denied: true };
    let told = judged(|f| f.tables = Err(denied));
    assert_eq!((told.len(), told[0].check, told[0].severity), (1, "tables", Severity::Warning));
    assert!(told[0].remedy.as_ref().is_some_and(|r| r.contains("grant avouch_runtime")));
}
