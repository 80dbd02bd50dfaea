//! Values across the border: any answer that a guest can leave in its memory is that verdict or a fault, and any input arrives whole.

use avouch_runtime::rules::{Bindings, Fault, Message, Transaction, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::guest::Guest;
use super::{ask, limits, load, rules, still_works, transaction};
use crate::ground::rounds;

/// A call takes microseconds.
const CASES: u32 = 500;
/// What `Guest::good` has.
const MEMORY_BYTES: usize = 32 << 16;
/// What is kept of a reason.
const REASON_BYTES_MAX: usize = 1000;

/// Answers with the 16 bytes that its reference spells in letters from a to p.
const ANSWERS_AS_TOLD: &str = "
    (loop $next
        (i32.store8 offset=2048 (local.get $i) (i32.or
            (i32.shl (i32.sub (i32.load8_u (i32.add (local.get $ref) (i32.shl (local.get $i) (i32.const 1)))) (i32.const 97)) (i32.const 4))
            (i32.sub (i32.load8_u offset=1 (i32.add (local.get $ref) (i32.shl (local.get $i) (i32.const 1)))) (i32.const 97))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (i32.const 16))))
    (i32.const 2048)";

/// Rolls back with one of its inputs as the reason: the attempt's number says which.
const ECHOES: &str = "
    (i32.store (i32.const 3000) (local.get $ref)) (i32.store (i32.const 3004) (local.get $ref_len))
    (local.set $i (i32.const 3000))
    (if (i32.eq (local.get $attempt) (i32.const 1)) (then (local.set $i (i32.add (local.get $messages) (i32.const 8)))))
    (if (i32.eq (local.get $attempt) (i32.const 2)) (then (local.set $i (i32.add (local.get $messages) (i32.const 20)))))
    (if (i32.eq (local.get $attempt) (i32.const 3)) (then (local.set $i (i32.add (local.get $messages) (i32.const 28)))))
    (if (i32.eq (local.get $attempt) (i32.const 4)) (then (local.set $i (i32.load offset=48 (local.get $messages)))))
    (if (i32.eq (local.get $attempt) (i32.const 5))
        (then (local.set $i (i32.add (i32.load offset=48 (local.get $messages)) (i32.const 8)))))
    (i32.store (i32.const 2052) (i32.const 1))
    (i32.store (i32.const 2056) (i32.load (local.get $i)))
    (i32.store (i32.const 2060) (i32.load offset=4 (local.get $i)))
    (i32.const 2048)";

/// 16 bytes: mostly with discriminants that exist and places that are in memory.
fn answer() -> impl Strategy<Value = [u8; 16]> {
    let disc = prop_oneof![8 => 0..5_u8, 1 => any::<u8>()];
    let word = prop_oneof![4 => 0..3000_u32, 2 => 0..(4_u32 << 20), 1 => any::<u32>()];
    (disc.clone(), disc, word.clone(), word, any::<[u8; 3]>()).prop_map(|(error, which, first, second, padding)| {
        let mut bytes = [0; 16];
        bytes[0] = error;
        bytes[1..4].copy_from_slice(&padding);
        bytes[4] = which;
        bytes[5..8].copy_from_slice(&padding);
        bytes[8..12].copy_from_slice(&first.to_le_bytes());
        bytes[12..16].copy_from_slice(&second.to_le_bytes());
        bytes
    })
}

/// What the contract says of these bytes, as far as their texts can be known: how many bytes of text, or which pause.
#[derive(Debug, PartialEq)]
enum Means {
    Commit,
    Text { of: &'static str, bytes: usize },
    Pause { of: &'static str, ms: Option<u32> },
    Nothing,
}

fn meaning(bytes: &[u8; 16]) -> Means {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("there are four"));
    let usize_of = |at: usize| usize::try_from(word(at)).expect("is 32 bits");
    let (at, length) = (usize_of(8), usize_of(12));
    let text = |of| match at + length <= MEMORY_BYTES {
        true => Means::Text { of, bytes: length },
        false => Means::Nothing,
    };
    let pause = |of| match bytes[8] {
        0 => Means::Pause { of, ms: None },
        1 => Means::Pause { of, ms: Some(word(12)) },
        _ => Means::Nothing,
    };
    match (bytes[0], bytes[4]) {
        (0, 0) => Means::Commit,
        (0, 1) => text("rollback"),
        (0, 2) => pause("in-progress"),
        (0, 3) => pause("unknown"),
        (1, 0) => text("transient"),
        (1, 1) => text("permanent"),
        (1, 2) => text("broken"),
        _ => Means::Nothing,
    }
}

fn is_what_it_means(verdict: &Result<Verdict, Fault>, means: &Means) -> bool {
    match (verdict, means) {
        (Ok(Verdict::Commit), Means::Commit) => true,
        (Ok(Verdict::Rollback(why)), Means::Text { of: "rollback", bytes }) => {
            why.len() <= (*bytes).min(REASON_BYTES_MAX)
        }
        (Ok(Verdict::InProgress(ms)), Means::Pause { of: "in-progress", ms: told }) => ms == told,
        (Ok(Verdict::Unknown(ms)), Means::Pause { of: "unknown", ms: told }) => ms == told,
        (Err(Fault::Broken(_)), Means::Nothing) => true,
        // Bytes of memory that are no UTF-8, or too many.
        (Err(Fault::Broken(_)), Means::Text { .. }) => true,
        (Err(fault), Means::Text { of, .. }) => fault.class() == *of,
        _ => false,
    }
}

#[tokio::test]
async fn any_answer_that_a_guest_can_leave_is_that_verdict_or_a_fault() {
    let rules = rules(&limits(), &Bindings::default());
    let plugin = load(&rules, Guest::checking(ANSWERS_AS_TOLD).wasm()).await.expect("it is fine");
    let mut runner = TestRunner::default();
    for _ in 0..rounds("AVOUCH_TEST_CASES", CASES) {
        let bytes = answer().new_tree(&mut runner).expect("nothing is filtered").current();
        let letter = |nibble: u8| char::from(b'a' + nibble);
        let told: String = bytes.iter().flat_map(|b| [letter(b >> 4), letter(b & 15)]).collect();
        let (verdict, means) = (ask(&rules, &plugin, &told).await.verdict, meaning(&bytes));
        assert!(is_what_it_means(&verdict, &means), "{bytes:?} is {verdict:?} and means {means:?}");
    }
    still_works(&rules, "any answer").await;
}

#[tokio::test]
async fn any_input_of_a_guest_arrives_whole() {
    let rules = rules(&limits(), &Bindings::default());
    let plugin = load(&rules, Guest::checking(ECHOES).wasm()).await.expect("it is fine");
    let (mut runner, texts) = (TestRunner::default(), proptest::collection::vec("(?s)[^\\x00]{0,200}", 6));
    for _ in 0..rounds("AVOUCH_TEST_CASES", CASES) / 5 {
        let texts = texts.new_tree(&mut runner).expect("nothing is filtered").current();
        let [reference, topic, key, payload, name, value] = texts.as_slice() else { panic!("there are six") };
        let message = Message {
            id: "0198b3a0-0000-7000-8000-000000000001".into(),
            topic: topic.clone(),
            key: Some(key.clone()),
            payload: payload.clone().into_bytes(),
            payload_bytes: payload.len() as u64,
            headers: vec![(name.clone(), value.clone())],
            created_at_ms: u64::MAX,
            generation: u32::MAX,
        };
        for (attempt, text) in (0..).zip(&texts) {
            let messages = vec![message.clone(), message.clone()];
            let tx = Transaction { attempt, messages, ..transaction(plugin.name(), reference) };
            let Ok(Verdict::Rollback(echo)) = rules.ask(&plugin, &tx).await.verdict else { panic!("{tx:?}: no echo") };
            let end = (0..=text.len().min(REASON_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at));
            assert_eq!(echo, text[..end.unwrap_or(0)], "input {attempt}");
        }
    }
}
