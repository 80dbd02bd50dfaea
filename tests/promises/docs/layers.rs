//! What each module may import, and how long a file may be.

use std::collections::BTreeMap;

use super::pages::{files, read};

const FILE_LINES_MAX: usize = 400;

/// What each module may name of this crate: a module, or single items of it. Layer 0 is pure, 1 the edges, 2 the loops.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // 0
    ("access", &[]),
    ("killpoint", &[]),
    ("message", &[]),
    ("idempotency", &[]),
    ("incarnation", &[]),
    ("lifecycle", &[]),
    ("consumers", &[]),
    ("topics", &[]),
    ("rate", &[]),
    ("signature", &[]),
    ("window", &["message", "topics"]),
    ("secret", &[]),
    ("throttle", &[]),
    ("meters", &[]),
    // 1
    ("address", &[]),
    ("outside", &["address", "store::connect", "store::full_text"]),
    ("endpoints", &["address", "consumers", "outside", "signature"]),
    (
        "store",
        &[
            "access",
            "consumers",
            "endpoints",
            "idempotency",
            "incarnation",
            "killpoint",
            "lifecycle",
            "message",
            "meters",
            "secret",
            "window",
        ],
    ),
    ("alarm", &["lifecycle", "meters", "secret", "store::connect", "store::full_text"]),
    ("broker", &["idempotency", "incarnation", "killpoint", "lifecycle", "message", "secret", "store::full_text"]),
    ("doorbell", &["meters", "store::connect", "store::Error", "store::full_text"]),
    ("rules", &["address", "broker", "meters::Names", "secret", "store::connect", "store::full_text"]),
    ("trace", &["lifecycle", "secret", "store::connect", "store::full_text"]),
    ("answer", &["broker", "store"]),
    ("problem", &["store"]),
    ("serving", &[]),
    // 2: shards' two types are the channel between the loops.
    (
        "relay",
        &[
            "alarm",
            "broker",
            "consumers",
            "doorbell",
            "incarnation",
            "killpoint",
            "lifecycle",
            "message",
            "meters",
            "rate",
            "shards::Ownership",
            "shards::Progress",
            "store",
            "topics",
            "trace",
            "window",
        ],
    ),
    (
        "admin",
        &[
            "access",
            "broker",
            "consumers",
            "endpoints",
            "meters",
            "problem",
            "rules",
            "secret",
            "serving",
            "signature",
            "store",
            "throttle",
            "trace",
        ],
    ),
    (
        "notify",
        &[
            "address",
            "alarm",
            "broker",
            "consumers",
            "endpoints",
            "killpoint",
            "lifecycle",
            "message",
            "meters",
            "outside",
            "rate",
            "rules",
            "secret",
            "serving",
            "shards::Ownership",
            "signature",
            "store",
        ],
    ),
    ("checkback", &["alarm", "killpoint", "lifecycle", "rules", "store", "trace"]),
    ("deployments", &["alarm", "rules", "store"]),
    ("shards", &["killpoint", "meters", "store"]),
    ("upkeep", &["alarm", "broker", "meters", "shards::Ownership", "store"]),
    ("control", &["answer", "broker", "store"]),
    ("receivers", &["access", "message", "meters", "problem", "rate", "serving", "signature", "store", "throttle"]),
    ("inbox", &["alarm", "answer", "broker", "idempotency", "meters", "rules", "store", "trace"]),
    ("receipts", &["alarm", "broker", "consumers", "killpoint", "lifecycle", "shards::Ownership", "store", "trace"]),
    (
        "recovery",
        &["alarm", "broker", "killpoint", "lifecycle", "message", "rules", "shards::Ownership", "store", "trace"],
    ),
    // 3
    ("exporter", &["meters"]),
    ("logs", &[]),
    (
        "config",
        &[
            "admin",
            "alarm",
            "broker",
            "checkback",
            "consumers",
            "control",
            "doorbell",
            "exporter",
            "inbox",
            "killpoint",
            "logs",
            "notify",
            "receipts",
            "recovery",
            "relay",
            "rules",
            "shards",
            "store",
            "topics",
            "trace",
            "upkeep",
        ],
    ),
    ("schema", &["secret", "store"]),
    (
        "app",
        &[
            "admin",
            "alarm",
            "broker",
            "checkback",
            "config",
            "control",
            "deployments",
            "doorbell",
            "inbox",
            "meters",
            "notify",
            "receipts",
            "receivers",
            "recovery",
            "relay",
            "rules",
            "schema",
            "shards",
            "store",
            "trace",
            "upkeep",
        ],
    ),
    ("dev", &["admin", "app", "config", "schema", "secret", "store"]),
    (
        "cli",
        &[
            "access",
            "alarm",
            "app",
            "broker",
            "config",
            "consumers",
            "dev",
            "doorbell",
            "endpoints",
            "exporter",
            "inbox",
            "logs",
            "meters",
            "notify",
            "rules",
            "schema",
            "secret",
            "signature",
            "store",
        ],
    ),
];
/// Who may name the clients of the outside world. `message` makes NATS's header map, `dev` asks servers whether they are up.
const MAY_USE: &[(&str, &[&str])] = &[
    ("async_nats", &["broker", "dev", "message", "rules"]),
    ("tokio_postgres", &["cli", "dev", "doorbell", "rules", "schema", "store"]),
    ("wasmtime", &["rules"]),
    ("lettre", &["alarm"]),
    // The others count by `meters`; pure modules count nothing.
    ("metrics", &["alarm", "doorbell", "exporter", "meters", "relay", "rules", "shards", "trace"]),
    ("reqwest", &["address", "admin", "alarm", "endpoints", "notify", "outside", "rules", "trace"]),
    ("opentelemetry", &["trace"]),
    ("opentelemetry_proto", &["trace"]),
    ("opentelemetry_sdk", &["trace"]),
    ("prost", &["trace"]),
    ("figment", &["config"]),
    ("axum", &["admin", "problem", "receivers", "serving"]),
    ("openidconnect", &["admin"]),
    ("clap", &["cli", "dev"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    // admin has a module of this name.
    ("console", &["admin", "cli"]),
    ("indicatif", &["cli"]),
    (
        "tokio",
        &[
            "address",
            "admin",
            "alarm",
            "app",
            "broker",
            "checkback",
            "cli",
            "control",
            "deployments",
            "dev",
            "doorbell",
            "inbox",
            "notify",
            "outside",
            "receipts",
            "receivers",
            "recovery",
            "relay",
            "rules",
            "schema",
            "serving",
            "shards",
            "store",
            "trace",
            "upkeep",
        ],
    ),
];

#[test]
fn modules_import_only_what_their_layer_allows() {
    let layers: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    for file in files("runtime/src", &["rs"]).iter().filter(|f| *f != "lib.rs" && *f != "main.rs") {
        let module = file.split(['/', '.']).next().expect("a file has a name");
        let allowed =
            layers.get(module).unwrap_or_else(|| panic!("module {module} has no layer: add it to MAY_IMPORT"));
        let code = code(&read(&format!("runtime/src/{file}")));
        for path in paths_of_this_crate(&code) {
            let own = path.split("::").next() == Some(module);
            let is_allowed = allowed.iter().any(|a| path == *a || path.starts_with(&format!("{a}::")));
            assert!(own || is_allowed, "{file} imports crate::{path}: not allowed in its layer");
        }
        for (library, users) in MAY_USE {
            let uses = code.contains(&format!("{library}::"));
            assert!(!uses || users.contains(&module), "{file} uses {library}: that belongs to {users:?}");
        }
    }
}

/// A log line with a field of this name is one that sinks get too.
#[test]
fn alarms_are_logged_in_one_place() {
    for file in files("runtime/src", &["rs"]).iter().filter(|file| *file != "alarm.rs") {
        let code = code(&read(&format!("runtime/src/{file}")));
        let logs = code.split("tracing::").skip(1).filter_map(|rest| rest.split(';').next());
        for log in logs {
            assert!(!log.contains("alarm ="), "{file} logs an alarm: leave it to alarm::Alarms::raise\n{log}");
        }
    }
}

#[test]
fn files_are_short() {
    for base in ["runtime/src", "tests", "examples"] {
        for file in files(base, &["rs"]) {
            let lines = read(&format!("{base}/{file}")).lines().count();
            assert!(lines <= FILE_LINES_MAX, "{base}/{file} has {lines} lines: split it by what it decides");
        }
    }
}

/// `crate::a::{b, c::d}` as `a::b` and `a::c::d`; only as deep as one pair of braces after another.
fn paths_of_this_crate(code: &str) -> Vec<String> {
    code.split("crate::").skip(1).flat_map(|rest| expand("", rest)).collect()
}

fn expand(prefix: &str, rest: &str) -> Vec<String> {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if !after.starts_with('{') || !(name.is_empty() || name.ends_with("::")) {
        return vec![format!("{prefix}{}", name.trim_end_matches(':'))];
    }
    let (mut depth, mut start, mut parts) = (0, 1, Vec::new());
    for (at, c) in after.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            parts.push(after[start..at].trim());
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    let prefix = format!("{prefix}{name}");
    parts.into_iter().filter(|p| !p.is_empty()).flat_map(|part| expand(&prefix, part)).collect()
}

/// Without comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
