//! Files that are no plugins: each is refused before it is called, by a text that says why, within bounds.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use avouch_runtime::rules::{Bindings, COMPILE_COMMAND, Error, File, Grants, limits};
use avouch_tests::process::binary;

use super::guest::{Guest, SQL, component, typed, with_manifest};
use super::{SLACK, limits as usual, load, refused, rules, still_works};

const MANIFEST: &[u8] = b"name = \"guest\"\nversion = \"1\"";

/// What it is, and what its refusal says.
fn attacks() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = Guest::good().wasm();
    let with = |items: &str| Guest { items: items.into(), ..Guest::good() }.wasm();
    let memory = |memory: &str| Guest { memory: memory.into(), ..Guest::good() }.wasm();
    let manifest = |text: &[u8]| with_manifest(typed(Guest::good().core()), text);
    let core = |text: &str| with_manifest(typed(wat::parse_str(text).expect("it is WebAssembly")), MANIFEST);
    let mut altered = good.clone();
    altered[100..200].fill(0xff);
    let huge = format!("name = \"guest\"\nversion = \"{}\"", "1".repeat(70_000));
    vec![
        ("nothing", Vec::new(), ""),
        ("text", b"#!/bin/sh\nrm -rf /\n".to_vec(), "no WebAssembly"),
        ("zeros", vec![0; 1_000_000], "no WebAssembly"),
        ("half a file", good[..good.len() / 2].to_vec(), "no WebAssembly"),
        ("a file without its last byte", good[..good.len() - 1].to_vec(), "no WebAssembly"),
        ("an altered file", altered, ""),
        ("native code", native(&good), "native code"),
        ("no manifest", typed(Guest::good().core()), "avouch:manifest"),
        ("no component type", with_manifest(Guest::good().core(), MANIFEST), ""),
        ("a huge manifest", manifest(huge.as_bytes()), "at most 65536"),
        ("a manifest that is no TOML", manifest(b"{\"name\": 1}"), "manifest cannot be read"),
        ("a manifest that is not UTF-8", manifest(b"name = \"\xff\""), "not UTF-8"),
        ("a manifest with unknown keys", manifest(b"name = \"a\"\nversion = \"1\"\n[files.etc]"), "files"),
        ("a name that is a path", manifest(b"name = \"../../etc/passwd\"\nversion = \"1\""), "../../etc/passwd"),
        ("a name with a terminal's escape", manifest(b"name = \"a\\u001b[2J\"\nversion = \"1\""), "\\u{1b}"),
        ("sql that is not requested", Guest::importing(SQL, "(i32.const 1024)").wasm(), ""),
        (
            "wasi",
            component(r#"(component (import "wasi:cli/environment@0.2.0" (instance (export "f" (func)))))"#),
            "wasi:cli",
        ),
        (
            "an interface of its own",
            component(r#"(component (import "evil:evil/evil" (instance (export "f" (func)))))"#),
            "evil:evil",
        ),
        (
            "another version",
            component(r#"(component (import "avouch:rules/sql@2.0.0" (instance (export "query" (func)))))"#),
            "sql@2.0.0",
        ),
        (
            "the right import of the wrong type",
            component(
                r#"(component (import "avouch:rules/clock@1.0.0" (instance (export "now-ms" (func (result string))))))"#,
            ),
            "clock",
        ),
        (
            "a core module for wasi",
            core(
                r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))) (memory (export "memory") 1))"#,
            ),
            "wasi_snapshot_preview1",
        ),
        ("no rule", component("(component)"), "#[check_back], #[idempotency] or #[notification]"),
        (
            "a rule of the wrong type",
            component(
                r#"(component
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func $check (canon lift (core func $i "f")))
                (instance $rule (export "check" (func $check)))
                (export "avouch:rules/check-back@1.0.0" (instance $rule)))"#,
            ),
            "check-back",
        ),
        (
            "a notification of the wrong type",
            component(
                r#"(component
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func $shape (canon lift (core func $i "f")))
                (instance $rule (export "shape" (func $shape)))
                (export "avouch:rules/notification@1.0.0" (instance $rule)))"#,
            ),
            "notification",
        ),
        (
            "a rule of the wrong core type",
            core(r#"(module (memory (export "memory") 1) (func (export "avouch:rules/check-back@1.0.0#check")))"#),
            "check",
        ),
        (
            "invalid code",
            {
                // `i32.add` on an empty stack: parses, and does not validate.
                let mut wasm = wat::parse_str("(module)").expect("it is WebAssembly");
                wasm.extend([1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 5, 1, 3, 0, 0x6a, 0x0b]);
                with_manifest(typed(wasm), MANIFEST)
            },
            "",
        ),
        ("64 MB of memory", memory("(memory (export \"memory\") 1024)"), "memory"),
        ("4 GB of memory", memory("(memory (export \"memory\") 65536)"), "memory"),
        ("a table of ten million", with("(table 10000000 funcref)"), "table"),
        ("a hundred memories", with(&"(memory 1)".repeat(99)), "memor"),
        ("fifty tables", with(&"(table 1 funcref)".repeat(50)), "table"),
        (
            "a hundred instances",
            component(&format!(
                "(component (core module $m (memory 1)) {})",
                "(core instance (instantiate $m))".repeat(100)
            )),
            "",
        ),
        ("threads", memory("(memory (export \"memory\") 1 2 shared)"), ""),
        ("64-bit memory", memory("(memory (export \"memory\") i64 1)"), ""),
        ("garbage collection", with("(type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1))))"), ""),
        ("exceptions", with("(tag $t) (func (throw $t))"), ""),
        ("a hundred thousand locals", with(&format!("(func (local {}))", "i64 ".repeat(100_000))), "locals"),
        ("components in components, a billion in all", matryoshka(30), ""),
    ]
}

/// What the compiler makes of a file: exactly what a cache holds.
fn native(wasm: &[u8]) -> Vec<u8> {
    let mut child = Command::new(binary());
    let child = child.arg(COMPILE_COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("the compiler starts");
    child.stdin.take().expect("it has an input").write_all(wasm).expect("it reads");
    child.wait_with_output().expect("it ends").stdout
}

/// Each level makes two of the level below.
fn matryoshka(levels: usize) -> Vec<u8> {
    let mut text = "(component (component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for n in 1..=levels {
        let below = n - 1;
        text.push_str(&format!(
            "(component $c{n} (instance (instantiate $c{below})) (instance (instantiate $c{below})))"
        ));
    }
    component(&format!("{text} (instance (instantiate $c{levels})))"))
}

/// Code that takes a compiler long: in each of a thousand loops, each of two thousand locals changes.
fn slow() -> Vec<u8> {
    let count: String =
        (1..2_000).map(|n| format!("(local.set {n} (i64.add (local.get {n}) (i64.const {n})))")).collect();
    let (open, close) = ("(loop ".repeat(1_000), "(br_if 0 (local.get 0)))".repeat(1_000));
    let function = format!("(func (param i32) (local {}) {open} {count} {close})", "i64 ".repeat(2_000));
    Guest { items: function, ..Guest::good() }.wasm()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_is_no_plugin_is_refused() {
    let rules = rules(&limits::Config { compile_timeout_ms: 5_000, ..usual() }, &Bindings::default());
    let mut wrong = Vec::new();
    for (what, wasm, says) in attacks() {
        let began = Instant::now();
        let why = refused(load(&rules, wasm).await, says).err();
        wrong.extend(why.map(|why| format!("{what}: {why}")));
        assert!(began.elapsed() < Duration::from_secs(5) + SLACK, "{what}: {:?}", began.elapsed());
    }
    still_works(&rules, "all of them").await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn file_that_is_too_large_is_refused_unread() {
    let good = Guest::good().wasm();
    refused(File::read(good.clone(), good.len() - 1), "rules.file_bytes_max").expect("one byte too many");
    assert!(File::read(good.clone(), good.len()).is_ok());
}

#[tokio::test]
async fn what_is_not_granted_is_refused_by_name() {
    let rules = rules(&usual(), &Bindings::default());
    let file = File::read(Guest::querying(&[("q", "select 1")]).wasm(), usize::MAX).expect("it is a plugin");
    refused(rules.load(&file, &Grants::default()).await, "--grant sql:db").expect("no grant");
    refused(load(&rules, file.bytes.to_vec()).await, "[binding.sql.db]").expect("no binding");
}

#[tokio::test]
async fn code_that_explodes_in_the_compiler_is_given_up() {
    let limits = limits::Config { compile_timeout_ms: 1_500, ..usual() };
    let rules = rules(&limits, &Bindings::default());
    let began = Instant::now();
    refused(load(&rules, slow()).await, "rules.compile_timeout_ms").expect("it takes too long");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    still_works(&rules, "a slow one").await;
}

#[tokio::test]
async fn compiler_that_cannot_be_started_is_no_reason_to_refuse() {
    let rules = avouch_runtime::rules::Rules::new(
        (&usual(), 100),
        &Bindings::default(),
        &avouch_runtime::broker::Config::default(),
        "/nowhere/avouch".into(),
    );
    let loaded = load(&rules.expect("the engine can be made"), Guest::good().wasm()).await;
    assert!(matches!(loaded, Err(Error::Retry(_))));
}
