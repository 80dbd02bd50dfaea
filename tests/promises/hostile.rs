//! Plugins that attack their host: each ends within its limits as a fault with a reason, never as a verdict, and nobody else
//! notices.

pub mod guest;

mod answers;
mod any;
mod asking;
mod beside;
mod calls;
mod files;
mod http;
mod nats;
mod neighbours;
mod notified;
pub mod running;
mod statements;

use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_runtime::broker;
use avouch_runtime::rules::{
    Answer, Bindings, Error, Fault, File, Grants, Plugin, Rules, Transaction, Verdict, limits,
};
use avouch_tests::process::binary;

use self::guest::Guest;

/// Short, so that the tests are.
const DEADLINE_MS: u64 = 2_000;
/// What a busy machine adds to a deadline.
const SLACK: Duration = Duration::from_secs(2);

/// The production limits, but for the times; compiled code is not kept.
pub fn limits() -> limits::Config {
    limits::Config {
        deadline_ms: DEADLINE_MS,
        compile_timeout_ms: 20_000,
        cache_dir: Some("/proc/no-cache".into()),
        ..limits::Config::default()
    }
}

/// Rules without plugins.
pub fn rules(limits: &limits::Config, bindings: &Bindings) -> Arc<Rules> {
    let rules = Rules::new((limits, 100), bindings, &broker::Config::default(), binary());
    Arc::new(rules.expect("the engine can be made"))
}

/// Whatever the manifest requests.
fn all_grants(file: &File) -> Grants {
    Grants { bindings: file.manifest.requests(), ..Grants::default() }
}

pub async fn load(rules: &Rules, wasm: Vec<u8>) -> Result<Plugin, Error> {
    let file = File::read(wasm, limits::Config::default().file_bytes_max)?;
    rules.load(&file, &all_grants(&file)).await
}

pub fn transaction(checker: &str, reference: &str) -> Transaction {
    Transaction {
        id: "0198b3a0-0000-7000-8000-000000000000".into(),
        checker: checker.into(),
        reference: Some(reference.into()),
        age_ms: 1_000_000,
        attempt: 0,
        message_count: 0,
        messages: Vec::new(),
    }
}

/// Asks, and holds the answer to the deadline.
async fn ask(rules: &Rules, plugin: &Plugin, reference: &str) -> Answer {
    let began = Instant::now();
    let answer = rules.ask(plugin, &transaction(plugin.name(), reference)).await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(DEADLINE_MS) + SLACK, "{} {reference}: {took:?}", plugin.name());
    answer
}

/// The plugin cannot be used, for good, and the text says why; otherwise what is wrong with that.
fn refused<T>(loaded: Result<T, Error>, says: &str) -> Result<(), String> {
    match loaded {
        Err(Error::Refused(why)) if why.contains(says) && why.len() < 4_096 => Ok(()),
        Err(other) => Err(format!("not refused with {says:?} but {other:?}")),
        Ok(_) => Err("loaded".into()),
    }
}

/// There is no verdict, and the text says why; otherwise what is wrong with that.
fn broken(verdict: Result<Verdict, Fault>, says: &str) -> Result<(), String> {
    match verdict {
        Err(Fault::Broken(why)) if why.contains(says) && why.len() <= 1_000 => Ok(()),
        other => Err(format!("not broken with {says:?} but {other:?}")),
    }
}

/// A good plugin, made now, answers.
async fn still_works(rules: &Rules, after: &str) {
    let good = load(rules, Guest::good().wasm()).await.unwrap_or_else(|e| panic!("after {after}: {e}"));
    let verdict = ask(rules, &good, "").await.verdict;
    assert!(matches!(verdict, Ok(Verdict::Commit)), "after {after}: {verdict:?}");
}
