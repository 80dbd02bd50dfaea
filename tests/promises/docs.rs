//! The pages and the code agree: examples run, names exist, the reference is complete.

mod layers;
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use avouch_runtime::config::Config;
use avouch_tests::database::Database;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

pub use self::pages::{blocks, files, read, section, table};
use self::pages::{code_words, root, slug, statements, tests};

const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/producers.md",
    "docs/consumers.md",
    "docs/guarantees.md",
    "docs/metrics.md",
    "docs/notifications.md",
    "docs/operating.md",
    "docs/traces.md",
    "docs/cli.md",
    "docs/api.md",
    "docs/permissions.md",
    "docs/plugins.md",
    "examples/tcc/README.md",
    "examples/saga/README.md",
    "examples/payment-notify/README.md",
    "examples/consumers/README.md",
];
/// The reader's own tables, which the examples suppose.
const READERS_TABLES: &str = "create table orders (id int primary key, status text); create table invoices (order_id int); \
                              grant all on orders, invoices to public; \
                              insert into avouch.consumer (name, lease_ms, takeover, attempts_max, retry_first_ms, retry_max_ms) \
                              values ('billing', 30000, 'rerun', 16, 1000, 300000)";
/// The first line of an example that needs more than `avouch_producer`.
const AS_OWNER: &str = "-- as the owner of the database";
/// Shorter names with underscores are settings, columns or functions.
const TEST_NAME_UNDERSCORES_MIN: usize = 3;

// ── Examples ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Each block in a fresh database of its own, statement by statement, with the rights of a producer, or of a consumer if it is
/// about the inbox, unless it says otherwise. `$1` stands for the id that the block's last `avouch.prepare` returned.
#[tokio::test]
async fn every_sql_example_runs_as_written() {
    let mut roles = Vec::new();
    for (page, block) in PAGES.iter().flat_map(|page| blocks(&read(page), "sql").into_iter().map(move |b| (page, b))) {
        let database = Database::create().await;
        let client = database.client().await;
        client.batch_execute(READERS_TABLES).await.expect("the reader's tables can be made");
        if !block.starts_with(AS_OWNER) {
            let role = format!("role_{}", Uuid::now_v7().simple());
            let group = if block.contains("avouch.inbox_") { "avouch_consumer" } else { "avouch_producer" };
            let become_it = format!("create role {role} in role {group}; set role {role}");
            client.batch_execute(&become_it).await.expect("a role can be made");
        }
        let mut prepared = None;
        for statement in statements(&block) {
            roles.extend(
                statement
                    .trim()
                    .strip_prefix("create role ")
                    .and_then(|rest| rest.split(' ').next())
                    .map(str::to_owned),
            );
            run(&client, &statement, &mut prepared).await.unwrap_or_else(|e| panic!("{page}: {statement}\n{e:?}"));
        }
        forget(&client, &mut roles).await;
    }
}

async fn run(client: &Client, statement: &str, prepared: &mut Option<String>) -> Result<(), tokio_postgres::Error> {
    let id = prepared.as_ref().map_or("null".to_owned(), |id| format!("'{id}'"));
    for message in client.simple_query(&statement.replace("$1", &id)).await? {
        if let SimpleQueryMessage::Row(row) = message
            && statement.contains("avouch.prepare(")
        {
            *prepared = row.get(0).map(str::to_owned);
        }
    }
    Ok(())
}

/// Roles belong to the server, which other tests use, and two examples may make the same one.
async fn forget(client: &Client, roles: &mut Vec<String>) {
    for role in roles.drain(..) {
        client.batch_execute(&format!("drop role {role}")).await.expect("an example's role can be dropped");
    }
}

#[test]
fn every_configuration_example_is_accepted() {
    let mut seen = 0;
    for page in PAGES {
        for block in blocks(&read(page), "toml") {
            Config::parse(&block).unwrap_or_else(|e| panic!("{page}:\n{block}\n{e}"));
            seen += 1;
        }
    }
    assert!(seen > 0, "the README shows a configuration");
    Config::parse(&read("docs/avouch.example.toml")).unwrap_or_else(|e| panic!("docs/avouch.example.toml: {e}"));
}

// ── Names ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn tests_named_in_the_docs_exist() {
    let tests = tests();
    let schema = read("schema.sql");
    let is_rule = |name: &str| schema.contains(&format!("'{name}'")) || schema.contains(&format!("constraint {name} "));
    let metrics = crate::metrics::documented();
    for page in PAGES {
        for name in code_words(&read(page)).into_iter().filter(|name| !metrics.contains_key(name)) {
            let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if is_name && name.matches('_').count() >= TEST_NAME_UNDERSCORES_MIN && !is_rule(&name) {
                assert!(tests.contains(&name), "{page} names the test {name}, which does not exist");
            }
        }
    }
}

#[test]
fn every_promise_names_its_test() {
    let tests = tests();
    for (page, heading) in [("README.md", "## The promise"), ("ARCHITECTURE.md", "## Invariants")] {
        let rows = table(section(&read(page), heading));
        assert!(rows.len() > 5, "{page}: no table below {heading:?}");
        for row in rows {
            let kept = code_words(&row[1]).iter().any(|name| tests.contains(name));
            assert!(kept || row[1].starts_with("by construction"), "{page}: nothing keeps {:?}", row[0]);
        }
    }
}

#[test]
fn links_between_the_docs_resolve() {
    for page in PAGES {
        let text = read(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let from = root().join(page);
            let target = if file.is_empty() { from } else { from.parent().expect("a page has a directory").join(file) };
            assert!(target.exists(), "{page}: {link} leads nowhere");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).expect("an anchor is in a page");
                assert!(
                    text.lines().any(|line| line.starts_with('#') && slug(line) == anchor),
                    "{page}: no heading for {link}"
                );
            }
        }
    }
}

#[test]
fn code_map_names_every_file_of_the_runtime() {
    let architecture = read("ARCHITECTURE.md");
    let map = section(&architecture, "## Code map");
    for base in ["runtime/src", "tests", "examples"] {
        let listed: BTreeSet<String> = blocks(section(map, &format!("### `{base}`")), "text")
            .iter()
            .flat_map(|block| {
                block.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        for file in &listed {
            assert!(root().join(base).join(file).exists(), "ARCHITECTURE.md names {base}/{file}, which does not exist");
        }
        if base == "runtime/src" {
            for file in files(base, &["rs", "sql", "txt"]) {
                assert!(listed.contains(&file), "ARCHITECTURE.md's code map lacks {base}/{file}");
            }
        }
    }
}

// ── The configuration reference ────────────────────────────────────────────────────────────────────────────────────

/// A configuration in which every table is there, so that its debugging text names every key with its default.
const EVERY_TABLE: &[(&str, &str)] = &[
    ("source.NAME.url", "\"x\""),
    ("stream.NAME.subject_prefix", "\"msg\""),
    ("topic.NAME.on_dead", "\"park\""),
    ("checker.NAME.on_exhausted", "\"park\""),
    ("consumer.NAME.takeover", "\"rerun\""),
    ("endpoint.NAME.url", "\"https://x.example/\""),
    ("endpoint.NAME.topics", "[\"a\"]"),
    ("endpoint.NAME.secrets", "[\"x\"]"),
    ("admin.tls.certificate", "\"x\""),
    ("admin.tls.key", "\"x\""),
    ("notify.tls.certificate", "\"x\""),
    ("notify.tls.key", "\"x\""),
    ("admin.oidc.issuer", "\"https://login.example\""),
    ("admin.oidc.client_id", "\"x\""),
    ("binding.sql.NAME.url", "\"x\""),
    ("binding.http.NAME.origin", "\"x\""),
    ("binding.nats.NAME.subjects", "[]"),
];

/// The same for sinks of alarms, whose tables have no names: one of each sort.
const EVERY_SINK: &[&[(&str, &str)]] = &[
    &[("webhook.url", "\"x\"")],
    &[("command", "[\"x\"]")],
    &[("smtp.server", "\"x\""), ("smtp.from", "\"x\""), ("smtp.to", "[\"x\"]")],
];

#[test]
fn configuration_reference_is_complete_and_true() {
    let page = read("docs/operating.md");
    let rows = table(section(&page, "## Configuration reference"));
    let documented: BTreeMap<String, (&str, &str)> =
        rows.iter().map(|row| (row[0].trim_matches('`').to_owned(), (&*row[1], &*row[2]))).collect();
    let real = keys_and_defaults();
    let lacking: Vec<_> = real.keys().filter(|key| !documented.contains_key(*key)).collect();
    assert!(lacking.is_empty(), "the reference lacks {lacking:?}");
    let unknown: Vec<_> = documented.keys().filter(|key| !real.contains_key(*key)).collect();
    assert!(unknown.is_empty(), "the configuration has no {unknown:?}");
    for (key, (kind, default)) in &documented {
        let default = default.trim_matches('`');
        if *kind != "secret" && default != "required" {
            assert_eq!(default, real[key], "the default of {key}");
        }
        for value in values(kind, default) {
            let text = match key.strip_prefix("alarm.") {
                Some(key) => format!("[[alarm]]\n{}", with(sink_of(key), key, &value)),
                None => with(&beside(key, &value), key, &value),
            };
            Config::parse(&text).unwrap_or_else(|e| panic!("{text}{e}"));
        }
    }
}

/// The tables beside which a key may have this value: where nobody is asked who they are, there is no issuer.
fn beside(key: &str, value: &str) -> Vec<(&'static str, &'static str)> {
    let is_open = (key, value) == ("admin.auth", "\"none\"");
    EVERY_TABLE.iter().copied().filter(|(other, _)| !is_open || !other.starts_with("admin.oidc.")).collect()
}

/// These settings, but for this key.
fn with(others: &[(&str, &str)], key: &str, value: &str) -> String {
    let others = others.iter().filter(|(other, _)| *other != key).map(|(k, v)| format!("{k} = {v}\n"));
    format!("{}{key} = {value}\n", others.collect::<String>())
}

/// The sink that can have this key.
fn sink_of(key: &str) -> &'static [(&'static str, &'static str)] {
    let sort = key.split('.').next().expect("a key has a first part");
    EVERY_SINK.iter().find(|sink| sink[0].0.starts_with(sort)).unwrap_or(&EVERY_SINK[0])
}

/// Values that a key must accept: its default and all of its choices, or one of its type.
fn values(kind: &str, default: &str) -> Vec<String> {
    let choices: Vec<String> = kind.split('`').filter(|part| part.starts_with('"')).map(str::to_owned).collect();
    if !choices.is_empty() {
        return choices;
    }
    let has_none = default == "none" || default == "required";
    let example = match kind {
        "integer" => "5",
        "number" => "0.5",
        "boolean" => "true",
        "table" => "{}",
        "list" => "[\"NAME\"]",
        // Also the name of a stream.
        "text" | "path" | "secret" => "\"NAME\"",
        "address" => "\"127.0.0.1:9187\"",
        "url" => "\"https://avouch.example\"",
        other => panic!("{other:?} is no type of the reference"),
    };
    vec![if has_none { example.to_owned() } else { default.to_owned() }]
}

/// Every key of the configuration with its default, read from the derived `Debug` of the structs themselves.
fn keys_and_defaults() -> BTreeMap<String, String> {
    let list = |settings: &[(&str, &str)]| settings.iter().map(|(k, v)| format!("{k} = {v}\n")).collect::<String>();
    let sinks: String = EVERY_SINK.iter().map(|sink| format!("[[alarm]]\n{}", list(sink))).collect();
    let mut config = Config::parse(&(list(EVERY_TABLE) + &sinks)).expect("every table may be there");
    let sinks = std::mem::take(&mut config.alarm);
    let mut keys = keys_of(&format!("{config:#?}"), Vec::new());
    keys.remove("alarm").expect("there are sinks");
    for sink in sinks {
        for (key, value) in keys_of(&format!("{sink:#?}"), vec!["alarm".to_owned()]) {
            // The table of another sort is not there; a command is a key.
            let is_absent =
                ["alarm.webhook", "alarm.smtp"].contains(&&*key) || (key == "alarm.command" && value != "none");
            if !is_absent {
                keys.insert(key, value);
            }
        }
    }
    for key in ["relay.rows_max", "source.NAME.tls.mode", "alarm.repeat_ms", "alarm.smtp.tls"] {
        assert!(keys.contains_key(key), "the text was understood: {keys:?}");
    }
    keys
}

fn keys_of(debug: &str, mut path: Vec<String>) -> BTreeMap<String, String> {
    let (mut keys, depth) = (BTreeMap::new(), path.len());
    // `Some(` and `[` stand on lines of their own, as do their ends and the items.
    let debug = in_one_line(&debug.replace("Some(\n", ""));
    for line in debug.lines().skip(1) {
        let line = line.trim().trim_end_matches(',');
        match line.split_once(": ") {
            Some((name, value)) if value.ends_with('{') => path.push(name.trim_matches('"').to_owned()),
            Some((name, value)) => {
                drop(keys.insert([&path[..], &[name.to_owned()]].concat().join("."), default_of(value.trim())))
            }
            None if line == "}" && path.len() > depth => drop(path.pop()),
            None => {}
        }
    }
    keys
}

/// Lists of numbers and texts as TOML has them.
fn in_one_line(debug: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in debug.lines() {
        let (bare, last) = (line.trim(), lines.last_mut());
        match last {
            Some(list) if is_open && bare.starts_with(']') => *list = format!("{}]", list.trim_end_matches([',', ' '])),
            Some(list) if is_open => list.push_str(&format!("{bare} ")),
            _ => lines.push(line.to_owned()),
        }
        is_open = line.ends_with('[') || is_open && !bare.starts_with(']');
    }
    lines.join("\n")
}

fn default_of(debug: &str) -> String {
    let is_variant = debug.starts_with(|c: char| c.is_ascii_uppercase());
    match debug {
        "None" => "none".to_owned(),
        _ if is_variant => format!("\"{}\"", debug.to_lowercase()),
        _ => debug.to_owned(),
    }
}
