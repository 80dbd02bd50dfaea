//! What other plugins notice of a bad one: nothing but a little time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_runtime::rules::{Bindings, Fault, Verdict};

use super::guest::Guest;
use super::{limits, load, rules, transaction};

const LOOPS: usize = 48;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugin_that_loops_in_every_call_leaves_others_their_turns() {
    let rules = rules(&limits(), &Bindings::default());
    let looping = Guest::checking("(loop (br 0)) (unreachable)").named("looping").wasm();
    rules.install(load(&rules, looping).await.expect("it is a plugin"));
    rules.install(load(&rules, Guest::good().named("good").wasm()).await.expect("it is a plugin"));
    let loops: Vec<_> = (0..LOOPS)
        .map(|_| {
            let rules = Arc::clone(&rules);
            tokio::spawn(async move { rules.check(&transaction("looping", "")).await })
        })
        .collect();
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    while !loops.iter().all(|l| l.is_finished()) {
        let began = Instant::now();
        let answer = rules.check(&transaction("good", "")).await;
        assert!(matches!(answer.verdict, Ok(Verdict::Commit)), "{:?}", answer.verdict);
        slowest = slowest.max(began.elapsed());
        answered += 1;
    }
    assert!(answered >= 20 && slowest < Duration::from_secs(1), "{answered} answers, the slowest in {slowest:?}");
    for task in loops {
        let answer = task.await.expect("it ends");
        // On a busy machine the deadline comes before it has computed for so long.
        assert!(matches!(&answer.verdict, Err(Fault::Broken(why)) if why.contains("rules.")), "{:?}", answer.verdict);
    }
}

#[tokio::test]
async fn plugin_that_is_removed_or_replaced_is_not_asked() {
    let rules = rules(&limits(), &Bindings::default());
    rules.install(load(&rules, Guest::checking("unreachable").wasm()).await.expect("it is a plugin"));
    assert!(matches!(rules.check(&transaction("guest", "")).await.verdict, Err(Fault::Broken(_))));
    rules.install(load(&rules, Guest::good().wasm()).await.expect("it is a plugin"));
    assert!(matches!(rules.check(&transaction("guest", "")).await.verdict, Ok(Verdict::Commit)));
    rules.remove("guest");
    assert!(matches!(rules.check(&transaction("guest", "")).await.verdict, Err(Fault::Missing)));
}
