//! What a guest does while it is called.

use std::collections::BTreeMap;

use avouch_runtime::rules::{Bindings, Fault, Verdict, http, sql};
use avouch_runtime::secret::Secret;

use super::guest::{CLOCK, Guest, HTTP, LOG, SQL};
use super::{ask, broken, limits, load, rules, still_works};

/// Forever.
const LOOP: &str = "(loop (br 0)) (unreachable)";
/// Nobody listens there: what is granted is never reached.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

fn nowhere() -> Bindings {
    let config =
        sql::Config { url: Secret::new(NOWHERE), tls: Default::default(), connections_max: 1, connect_timeout_ms: 100 };
    Bindings { sql: BTreeMap::from([("db".to_owned(), config)]), ..Bindings::default() }
}

/// What it does, and what its fault says.
fn attacks() -> Vec<(&'static str, Guest, &'static str)> {
    let check = Guest::checking;
    let with = |items: &str, check: &str| Guest { items: items.into(), ..Guest::checking(check) };
    let realloc = |realloc: &str| Guest { realloc: realloc.into(), ..Guest::good() };
    let again = |call: &str| format!("(loop {call} (br 0)) (unreachable)");
    let strings = "(loop
        (i32.store8 (i32.add (i32.const 200000) (i32.mul (local.get $i) (i32.const 12))) (i32.const 1))
        (i32.store offset=8 (i32.add (i32.const 200000) (i32.mul (local.get $i) (i32.const 12))) (i32.const 1000000))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const 10000))))
        (call $query (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 200000) (i32.const 10000) (i32.const 2048)) (i32.const 2048)";
    let query = |check: &str| Guest { manifest: "[sql.db]\nq = \"select 1\"".into(), ..Guest::importing(SQL, check) };
    vec![
        ("start loops", with("(func $s (loop (br 0))) (start $s)", "(i32.const 1024)"), "rules.cpu_ms"),
        ("start traps", with("(func $s unreachable) (start $s)", "(i32.const 1024)"), "unreachable"),
        ("check loops", check(LOOP), "rules.cpu_ms"),
        ("check traps", check("unreachable"), "unreachable"),
        ("divides by zero", check("(i32.div_u (i32.const 1) (i32.const 0))"), "divide by zero"),
        ("recurses", with("(func $f (result i32) (i32.add (call $f) (i32.const 1)))", "(call $f)"), "call stack exhausted"),
        ("calls what is no function", with(
            "(table 1 funcref) (type $t (func (result i32)))",
            "(call_indirect (type $t) (i32.const 0))",
        ), "uninitialized element"),
        ("fills its memory again and again", check(
            &again("(memory.fill (i32.const 0) (i32.const 1) (i32.const 2000000))"),
        ), "rules."),
        ("grows its memory", check(&again("(drop (memory.grow (i32.const 1)))")), "memory"),
        ("grows a table", with(
            "(table $t 1 funcref)",
            &again("(drop (table.grow $t (ref.null func) (i32.const 1000)))"),
        ), "table"),
        ("logs 64 MB that are not there", Guest::importing(
            LOG, "(call $log (i32.const 1) (i32.const 0) (i32.const 67108864)) (i32.const 1024)",
        ), "out of bounds"),
        ("logs 20 MB", Guest { memory: "(memory (export \"memory\") 400)".into(), ..Guest::importing(
            LOG, "(call $log (i32.const 1) (i32.const 0) (i32.const 20000000)) (i32.const 1024)",
        ) }, "fuel"),
        ("logs a million lines", Guest::importing(
            LOG, &again("(call $log (i32.const 1) (i32.const 0) (i32.const 100))"),
        ), "rules.imports_max"),
        ("logs at a level that there is not", Guest::importing(
            LOG, "(call $log (i32.const 9) (i32.const 0) (i32.const 1)) (i32.const 1024)",
        ), "discriminant"),
        ("logs what is not UTF-8", Guest::importing(
            LOG, "(i32.store8 (i32.const 0) (i32.const 255)) (call $log (i32.const 1) (i32.const 0) (i32.const 1)) (i32.const 1024)",
        ), "utf-8"),
        ("asks for the time forever", Guest::importing(CLOCK, &again("(drop (call $now))")), "rules.imports_max"),
        ("gives 2^31 parameters", query(
            "(call $query (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 4096) (i32.const 0x80000000) (i32.const 2048)) (i32.const 2048)",
        ), "out of bounds"),
        ("gives one string 10000 times", query(strings), "fuel"),
        ("gives a parameter that is neither there nor not", query(
            "(i32.store8 (i32.const 4096) (i32.const 7)) (call $query (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 4096) (i32.const 1) (i32.const 2048)) (i32.const 2048)",
        ), "discriminant"),
        ("wants the rows outside its memory", query(
            "(call $query (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const -16)) (i32.const 2048)",
        ), "out of bounds"),
        ("answers from outside its memory", check("(i32.const -16)"), "out of bounds"),
        ("answers from an odd address", check("(i32.const 1025)"), "aligned"),
        ("answers neither well nor badly", Guest::answering(7, 0, 0, 0), "discriminant"),
        ("answers with a fifth verdict", Guest::answering(0, 9, 0, 0), "discriminant"),
        ("answers with a fourth error", Guest::answering(1, 3, 0, 0), "discriminant"),
        ("answers with a pause that is neither there nor not", Guest::answering(0, 2, 5, 0), "discriminant"),
        ("answers with a reason outside its memory", Guest::answering(0, 1, 0xffff_fff0, 100), "out of bounds"),
        ("answers with 2^32 - 1 bytes of reason", Guest::answering(0, 1, 1, u32::MAX), "out of bounds"),
        ("answers with 20 MB of reason", Guest {
            memory: "(memory (export \"memory\") 400)".into(), ..Guest::answering(0, 1, 0, 20_000_000)
        }, "fuel"),
        ("answers with a reason that is not UTF-8", Guest {
            items: "(data (i32.const 0) \"\\ff\\fe\\c0\\80\")".into(), ..Guest::answering(0, 1, 0, 4)
        }, "utf-8"),
        ("writes commit, then traps", check("(i64.store (i32.const 1024) (i64.const 0)) (drop (i32.const 1024)) unreachable"), "unreachable"),
        ("traps after its answer", with(
            "(func (export \"cabi_post_avouch:rules/check-back@1.0.0#check\") (param i32) unreachable)", "(i32.const 1024)",
        ), "unreachable"),
        ("loops after its answer", with(
            "(func (export \"cabi_post_avouch:rules/check-back@1.0.0#check\") (param i32) (loop (br 0)))", "(i32.const 1024)",
        ), "rules.cpu_ms"),
        ("allocates outside its memory", realloc("(i32.const -16)"), "beyond end of memory"),
        ("allocates at odd addresses", Guest { check: "(i32.const 1024)".into(), ..realloc("(i32.const 65537)") }, ""),
        ("allocates by a trap", realloc("unreachable"), "unreachable"),
        ("allocates by a loop", realloc(LOOP), "rules.cpu_ms"),
        ("allocates by recursion", realloc(
            "(call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3))",
        ), "call stack exhausted"),
        ("is denied something", Guest::answering(1, 2, 0, 1_000_000), "denied"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guest_that_breaks_the_rules_of_a_call_gives_no_verdict() {
    let rules = rules(&limits(), &nowhere());
    let before = peak_bytes();
    let mut wrong = Vec::new();
    for (what, guest, says) in attacks() {
        let plugin = load(&rules, guest.wasm()).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        let answer = ask(&rules, &plugin, "").await;
        wrong.extend(broken(answer.verdict, says).err().map(|why| format!("{what}: {why}")));
        assert!(answer.log.iter().map(|l| l.text.len()).sum::<usize>() < 20_000, "{what} fills the log");
        still_works(&rules, what).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let grown = peak_bytes().saturating_sub(before);
    assert!(grown < 512 << 20, "{grown} bytes more");
}

/// The most memory that this process has had.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("it is a number") << 10
}

#[tokio::test]
async fn long_reason_is_cut() {
    let rules = rules(&limits(), &Bindings::default());
    let guest = Guest::answering(0, 1, 0, 1_000_000);
    let plugin = load(&rules, guest.wasm()).await.expect("it is a plugin");
    let answer = ask(&rules, &plugin, "").await.verdict;
    let Ok(Verdict::Rollback(why)) = answer else { panic!("{answer:?}") };
    assert_eq!(why, " ".repeat(1_000), "Postgres's text holds no NUL");
}

#[tokio::test]
async fn log_is_cut() {
    let rules = rules(&limits(), &Bindings::default());
    let check = "(loop (call $log (i32.const 1) (i32.const 0) (i32.const 10000)) (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const 60)))) (i32.const 1024)";
    let plugin = load(&rules, Guest::importing(LOG, check).wasm()).await.expect("it is a plugin");
    let answer = ask(&rules, &plugin, "").await;
    assert!(matches!(answer.verdict, Ok(Verdict::Commit)), "{:?}", answer.verdict);
    assert!(answer.log.iter().map(|l| l.text.len()).sum::<usize>() < 17_000, "rules.log_bytes_max");
    assert!(answer.log.last().is_some_and(|l| l.text.ends_with("(rules.log_bytes_max is reached)")));
}

#[tokio::test]
async fn call_that_waits_for_a_server_ends_at_the_deadline() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let origin = format!("http://{}", silent.local_addr().expect("it has one"));
    let config = http::Config { origin, headers: BTreeMap::new(), private: false, connect_timeout_ms: 1_000 };
    let bindings = Bindings { http: BTreeMap::from([("db".to_owned(), config)]), ..Bindings::default() };
    let rules = rules(&limits(), &bindings);
    let guest = Guest {
        manifest: "[http.db]".into(),
        items: "(data (i32.const 512) \"dbGET/\")".into(),
        ..Guest::importing(
            HTTP,
            "(call $send (i32.const 512) (i32.const 2) (i32.const 514) (i32.const 3) (i32.const 517) (i32.const 1)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 2048)",
        )
    };
    let plugin = load(&rules, guest.wasm()).await.expect("it is a plugin");
    let answer = ask(&rules, &plugin, "").await;
    assert!(matches!(answer.verdict, Err(Fault::Broken(_) | Fault::Transient(_))), "{:?}", answer.verdict);
    still_works(&rules, "a silent server").await;
}

/// A guest that remembers what it was asked before.
const REMEMBERING: &str = "
    (if (i32.eq (local.get $ref_len) (i32.const 4)) (then (global.set $seen (i32.const 1)) (unreachable)))
    (if (i32.eq (local.get $ref_len) (i32.const 5)) (then (global.set $seen (i32.const 1)) (loop (br 0))))
    (if (i32.eq (local.get $ref_len) (i32.const 6)) (then (global.set $seen (i32.const 1))))
    (if (global.get $seen) (then (i32.store8 (i32.const 2052) (i32.const 3)) (return (i32.const 2048))))
    (i32.const 1024)";

#[tokio::test]
async fn instance_that_broke_is_never_used_again() {
    let rules =
        rules(&avouch_runtime::rules::limits::Config { reuse_calls_max: 1_000, ..limits() }, &Bindings::default());
    let guest = Guest { items: "(global $seen (mut i32) (i32.const 0))".into(), ..Guest::checking(REMEMBERING) };
    let plugin = load(&rules, guest.wasm()).await.expect("it is a plugin");
    for bad in ["trap", "loops"] {
        assert!(matches!(ask(&rules, &plugin, "").await.verdict, Ok(Verdict::Commit)));
        broken(ask(&rules, &plugin, bad).await.verdict, "").expect("it breaks");
        assert!(matches!(ask(&rules, &plugin, "").await.verdict, Ok(Verdict::Commit)), "after {bad}");
    }
    assert!(matches!(ask(&rules, &plugin, "marked").await.verdict, Ok(Verdict::Unknown(None))));
    assert!(
        matches!(ask(&rules, &plugin, "").await.verdict, Ok(Verdict::Unknown(None))),
        "the setting reuses instances"
    );
}

#[tokio::test]
async fn without_reuse_each_call_has_an_instance_of_its_own() {
    let rules = rules(&limits(), &Bindings::default());
    let guest = Guest { items: "(global $seen (mut i32) (i32.const 0))".into(), ..Guest::checking(REMEMBERING) };
    let plugin = load(&rules, guest.wasm()).await.expect("it is a plugin");
    assert!(matches!(ask(&rules, &plugin, "marked").await.verdict, Ok(Verdict::Unknown(None))));
    assert!(matches!(ask(&rules, &plugin, "").await.verdict, Ok(Verdict::Commit)));
}
