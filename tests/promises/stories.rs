//! The examples, played whole: on servers of their own, each to its balance.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use avouch_tests::scratch;
use avouch_tests::wait::secs;
use tokio::process::Command;
use tokio::time::timeout;

/// Starting two servers included.
const LIMIT: Duration = secs(90);
/// What a story says once everything was repeated.
const NOTHING_CHANGES: &str = "delivered once more: nothing changes";

/// Plays a story to its good end, and returns what it printed.
async fn play(example: &str, args: &[&str]) -> String {
    let program = scratch::profile_dir().join(example);
    assert!(program.is_file(), "no {}: run `cargo build -p {example}`", program.display());
    let dir = scratch::dir(example);
    let mut command = Command::new(program);
    command.arg("--dir").arg(dir.join("story")).args(args).stdin(Stdio::null()).kill_on_drop(true);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let story = command.spawn().expect("it can be started");
    let pid = story.id().expect("it was not waited for");
    let mut janitor = scratch::remove_at_end(pid, &[&dir]);
    let ended = timeout(LIMIT, story.wait_with_output()).await.unwrap_or_else(|_| panic!("{example} does not end"));
    let output = ended.expect("it can be waited for");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("it prints UTF-8");
    assert!(output.status.success(), "{example} ended with {}:\n{text}{}", output.status, logs(&dir.join("story")));
    drop(janitor.stdin.take());
    janitor.wait().expect("it can be waited for");
    text
}

/// What the processes of a story said.
fn logs(dir: &Path) -> String {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.map(|path| format!("--- {}\n{}", path.display(), fs::read_to_string(&path).unwrap_or_default())).collect()
}

/// The words of each line that begins like one of these.
#[track_caller]
fn assert_lines(text: &str, wanted: &[&str]) {
    let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for wanted in wanted {
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "no line {wanted:?} in:\n{text}");
    }
}

#[tokio::test]
async fn transfer_ends_balanced_at_whichever_step_its_coordinator_is_killed() {
    let text = play("avouch-example-tcc", &[]).await;
    assert!(text.contains(NOTHING_CHANGES), "{text}");
    assert_lines(
        &text,
        &[
            "nobody-dies confirmed coordinator confirmed confirmed",
            "refused cancelled coordinator cancelled cancelled",
            "dies-opened never begun - - -",
            "dies-prepared cancelled check-back cancelled cancelled",
            "dies-tried-one cancelled check-back cancelled cancelled",
            "dies-tried-both confirmed check-back confirmed confirmed",
            "dies-deciding confirmed check-back confirmed confirmed",
            "dies-decided confirmed coordinator confirmed confirmed",
            "refused-dies-deciding cancelled check-back cancelled cancelled",
            "refused-dies-decided cancelled coordinator cancelled cancelled",
            "freezes-tried-one cancelled check-back cancelled cancelled",
            "freezes-tried-both confirmed check-back confirmed confirmed",
            "the books balance",
        ],
    );
}

#[tokio::test]
async fn saga_ends_consistent_whichever_service_is_killed_at_whichever_step() {
    let text = play("avouch-example-saga", &[]).await;
    assert!(text.contains(NOTHING_CHANGES), "{text}");
    let accidents = [
        "shop dies placing confirmed 3",
        "shop dies placed confirmed 3",
        "stock dies answering confirmed 3",
        "stock dies answered confirmed 3",
        "shop dies concluding confirmed 3",
        "shop dies concluded confirmed 3",
        "stock dies answering cancelled 0 there are no 1001 apples",
        "stock dies answered cancelled 0 there are no 1001 apples",
        "shop dies concluding cancelled 0 there are no 1001 apples",
        "shop dies concluded cancelled 0 there are no 1001 apples",
    ];
    assert_lines(&text, &accidents);
    assert_lines(&text, &["nobody dies confirmed 3", "nobody dies cancelled 0", "the books balance"]);
}

#[tokio::test]
async fn demo_ends_balanced_with_each_effect_once() {
    let text = play("avouch-example-orders", &["--seconds", "12"]).await;
    assert_lines(&text, &["lost 0", "invented 0", "out of order 0", "doubled 0", "The books balance"]);
    let words = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name)).expect("the balance has it");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    // They balance in spite of all that: consumers were killed, and deliveries came again.
    for desk in ["invoices ", "parcels "] {
        let words = words(desk);
        assert!(words.ends_with(&["times".into()]) && words[words.len() - 2] != "0", "never killed: {words:?}");
    }
    assert!(!words("invoices ").join(" ").contains(" 0 deliveries came again"), "{text}");
}

#[tokio::test]
async fn merchant_is_told_of_each_payment_once_whatever_happens_to_its_server() {
    let text = play("avouch-example-payment-notify", &[]).await;
    assert_lines(
        &text,
        &[
            "try 1: it cannot be reached",
            "answered, signed: it is \"waiting\", tried 3 times; credited",
            "told again under the same webhook-id: credited once",
            "try 8: it answers 500; the next in",
            "try 9: it answers 500, at the last of 9 tries; given up, and alarmed",
            "compared with Avouch's list: 4 messages, the same digest",
            "settled 100.00 in 4 payments; the merchant has credited 100.00 in 4",
            "the books balance",
        ],
    );
}
