//! The consumers of `examples/consumers`, run as they are: killed between an effect and the word that it happened, and delivered
//! everything twice.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Config;
use avouch_runtime::dev::log::Log;
use avouch_runtime::dev::process::{Launch, Process};
use avouch_tests::scratch;
use avouch_tests::wait::{secs, until};
use nix::sys::signal::Signal;
use uuid::Uuid;

use crate::control::Desk;
use crate::docs::read;

const MESSAGES: i32 = 40;
/// Blank lines, comments, imports and lone brackets do not count.
const LINES_MAX: usize = 40;
const LIMIT: Duration = secs(60);
/// Shorter than the lease, so that what comes again finds it held.
const ACK_WAIT: Duration = Duration::from_millis(500);
const BILLING: &str = "[consumer.billing]\nlease_ms = 1500\n";
const EXAMPLES: [&str; 4] = ["consumer.py", "consumer.mjs", "consumer.go", "consumer.rs"];

/// An example at work. It ends with the test, however that ends.
struct Consumer {
    program: Vec<OsString>,
    dir: PathBuf,
    process: Option<Process>,
    janitor: Option<Child>,
}

impl Consumer {
    fn new(desk: &Desk, program: Vec<OsString>) -> Self {
        let dir = scratch::dir("consumer");
        let settings = [
            format!("NATS_URL={}", desk.ground.nats_url),
            format!("STREAM={}", desk.ground.names.stream),
            "CONSUMER=billing".to_owned(),
            format!("EFFECTS={}", dir.join("effects").display()),
        ];
        let program = settings.into_iter().map(OsString::from).chain(program).collect();
        Self { program, dir, process: None, janitor: None }
    }

    async fn start(&mut self) {
        let launch = Launch {
            program: "/usr/bin/env".into(),
            args: self.program.clone(),
            dir: self.dir.clone(),
            account: None,
            stop: Signal::SIGTERM,
            abort: Signal::SIGKILL,
        };
        let log = Log::claim("consumer", self.dir.join("log")).await.expect("nobody else writes there");
        let process = Process::spawn(launch, log).expect("it can be started");
        self.janitor.get_or_insert_with(|| scratch::remove_at_end(process.pid(), &[&self.dir]));
        self.process = Some(process);
    }

    fn kill(&mut self) {
        self.process.take().expect("it was started").kill().expect("it can be killed");
    }

    /// The tokens with which each message had its effect, in their order.
    fn effects(&self) -> HashMap<String, Vec<i64>> {
        let mut effects: HashMap<String, Vec<i64>> = HashMap::new();
        for line in std::fs::read_to_string(self.dir.join("effects")).unwrap_or_default().lines() {
            let (id, token) = line.split_once(' ').expect("an id and a token");
            effects.entry(id.to_owned()).or_default().push(token.parse().expect("a token is a number"));
        }
        effects
    }
}

impl Drop for Consumer {
    /// A failing test shows what it said.
    fn drop(&mut self) {
        drop(self.process.take());
        if std::thread::panicking() {
            eprintln!("{:?}:\n{}", self.program, std::fs::read_to_string(self.dir.join("log")).unwrap_or_default());
        }
    }
}

/// A durable with each message twice, and a third time with another payload.
async fn deliver(desk: &Desk) -> PullConsumer {
    let ground = &desk.ground;
    ground.insert("orders", 5, 0, MESSAGES).await;
    ground.drained().await;
    for message in ground.stream().await {
        for payload in [message.payload, "something else".into()] {
            let mut headers = message.headers.clone();
            headers.insert("Nats-Msg-Id", Uuid::now_v7().to_string());
            let sent = ground.jetstream.publish_with_headers(message.subject.clone(), headers, payload).await;
            sent.expect("the server runs").await.expect("the stream takes it");
        }
    }
    let durable = Config { durable_name: Some("billing".to_owned()), ack_wait: ACK_WAIT, ..Config::default() };
    let made = ground.jetstream.create_consumer_on_stream(durable, &ground.names.stream).await;
    made.expect("a durable can be made")
}

/// The first word that this message is done is refused, as if somebody held its record.
async fn refuse_the_first_word(desk: &Desk) -> String {
    let client = &desk.ground.client;
    let sql = "select id::text from avouch.outbox order by seq offset 15 limit 1";
    let id: String = client.query_one(sql, &[]).await.expect("there are more").get(0);
    let refuse = format!(
        "create function refuse() returns trigger language plpgsql as $$ begin
           raise exception 'somebody holds it' using errcode = 'lock_not_available';
         end $$;
         create trigger refuse before update on avouch.inbox for each row
         when (new.state = 'done' and new.key = '{id}' and new.attempts = 1) execute function refuse()"
    );
    client.batch_execute(&refuse).await.expect("the owner may");
    id
}

async fn does_each_message_once(language: &str, program: Vec<OsString>) {
    let desk = Desk::new().await;
    let _avouch = desk.runtime(BILLING).await;
    let mut durable = deliver(&desk).await;
    let killed = refuse_the_first_word(&desk).await;
    let mut consumer = Consumer::new(&desk, program);
    consumer.start().await;
    until("the effect after which it is killed", LIMIT, async || {
        consumer.effects().contains_key(&killed).then_some(())
    })
    .await;
    consumer.kill();
    consumer.start().await;
    until("everything to be settled", LIMIT, async || {
        let info = durable.info().await.expect("the durable stays");
        (info.num_pending + info.num_ack_pending as u64 == 0).then_some(())
    })
    .await;
    let effects = consumer.effects();
    let sql = "select i.key, i.state, i.result::jsonb ->> 'by', i.token from avouch.inbox i";
    let records = desk.ground.client.query(sql, &[]).await.expect("the inbox can be read");
    assert_eq!(
        [effects.len(), records.len()],
        [usize::try_from(MESSAGES).expect("they are few"); 2],
        "one record each"
    );
    for record in records {
        let (id, state): (String, &str) = (record.get(0), record.get(1));
        assert_eq!((state, record.get(2)), ("done", Some(language)), "{id}");
        let tokens = &effects[&id];
        assert_eq!(tokens.len(), if id == killed { 2 } else { 1 }, "{id} had its effect with {tokens:?}");
        assert!(tokens.is_sorted() && tokens.last() == Some(&record.get(3)), "tokens grow: {tokens:?}");
    }
}

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/consumers")
}

/// Whether this program can be started, and is not older. Says so where not, past the harness, which would keep it to itself.
fn is_there(language: &str, program: &str, argument: &str, least: [u32; 2]) -> bool {
    let output = Command::new(program).arg(argument).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u32>().ok());
    let found = [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)];
    if found < least {
        let [major, minor] = least;
        let text = format!(
            "\nNOT TRIED: the consumer in {language}; there is no `{program}` {major}.{minor} or newer on PATH\n"
        );
        std::io::stderr().write_all(text.as_bytes()).expect("it can be written");
    }
    found >= least
}

#[tokio::test]
async fn consumer_in_python_does_each_message_once_although_it_is_killed() {
    let python = dir().join("../../.avouch/venv/bin/python");
    assert!(python.exists(), "no {}: run `.ci/setup test`", python.display());
    does_each_message_once("Python", vec![python.into(), dir().join("consumer.py").into()]).await;
}

#[tokio::test]
async fn consumer_in_javascript_does_each_message_once_although_it_is_killed() {
    let is_there = |program, least| is_there("JavaScript", program, "--version", least);
    if is_there("node", [18, 0]) && is_there("npm", [1, 0]) {
        let modules = dir().join("node_modules");
        assert!(modules.exists(), "no {}: run `.ci/setup test`", modules.display());
        does_each_message_once("JavaScript", vec!["node".into(), dir().join("consumer.mjs").into()]).await;
    }
}

#[tokio::test]
async fn consumer_in_go_does_each_message_once_although_it_is_killed() {
    if is_there("Go", "go", "version", [1, 23]) {
        let program = scratch::profile_dir().join("consumer-go");
        let build = Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(dir()).output();
        let build = build.expect("it was started before");
        assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
        does_each_message_once("Go", vec![program.into()]).await;
    }
}

#[tokio::test]
async fn consumer_in_rust_does_each_message_once_although_it_is_killed() {
    let program = scratch::profile_dir().join("avouch-example-consumer");
    assert!(program.is_file(), "no {}: run `cargo build -p avouch-example-consumer`", program.display());
    does_each_message_once("Rust", vec![program.into()]).await;
}

#[test]
fn each_of_the_consumers_has_forty_lines_at_most() {
    for file in EXAMPLES {
        let text = read(&format!("examples/consumers/{file}"));
        let (mut count, mut in_imports) = (0, false);
        for line in text.lines().map(str::trim) {
            let is_import = in_imports || ["import ", "use ", "package "].iter().any(|word| line.starts_with(word));
            in_imports = (in_imports || line == "import (") && line != ")";
            let is_comment = ["//", "#", "\"\"\""].iter().any(|mark| line.starts_with(mark)) && !line.starts_with("#[");
            let says_something = line.chars().any(char::is_alphanumeric);
            count += usize::from(says_something && !is_import && !is_comment);
        }
        assert!((20..=LINES_MAX).contains(&count), "{file} has {count} lines");
    }
}
