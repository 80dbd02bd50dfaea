//! Terminals and shells: what fits, what is coloured, what completes, and what the pages say.

use avouch_tests::scratch;
use serde_json::Value;

use super::{Desk, HOSTILE};
use crate::cli::avouch;
use crate::docs::read;

/// One of each sort, and the deepest.
const COMMANDS: &[&str] =
    &["messages", "dead", "tx", "consumers", "inbox", "plugin", "drain", "rollback", "completions"];

#[tokio::test]
async fn completions_and_man_pages_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let told = avouch(&["completions", shell], &[]).await.succeeds();
        for name in COMMANDS {
            assert!(told.text.contains(name), "{shell} does not complete {name}");
        }
    }
    avouch(&["completions", "tcsh"], &[]).await.fails_with(2);
    avouch(&["man"], &[]).await.succeeds().says(".TH avouch 1").says("messages");
    let dir = scratch::dir("man");
    let dir = dir.to_str().expect("a UTF-8 path");
    avouch(&["man", "--dir", dir], &[]).await.succeeds().says(dir);
    for page in
        ["avouch.1", "avouch-messages.1", "avouch-messages-list.1", "avouch-tx-rollback.1", "avouch-dead-groups.1"]
    {
        let text = std::fs::read_to_string(format!("{dir}/{page}")).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(text.contains(".SH DESCRIPTION") && text.contains(".SH OPTIONS"), "{page}: {text}");
    }
    std::fs::remove_dir_all(dir).expect("it is ours");
}

#[tokio::test]
async fn help_names_every_command_in_a_group() {
    let told = avouch(&["help"], &[]).await.succeeds().says("Messages:").says("See how it goes:");
    for name in COMMANDS.iter().filter(|name| **name != "rollback") {
        assert!(
            told.text.lines().any(|line| line.starts_with(&format!("  {name} "))),
            "{name} is not in:\n{}",
            told.text
        );
    }
    assert!(!told.text.contains("compile-plugin"), "it is none of theirs:\n{}", told.text);
    avouch(&["messages", "--help"], &[]).await.succeeds().says("replay");
    avouch(&["mesages"], &[]).await.fails_with(2).says("messages");
}

#[tokio::test]
async fn table_is_cut_to_the_terminal_and_coloured_only_there() {
    let desk = Desk::new().await;
    let args = ["dead", "list"];
    let told = desk.in_terminal(120, "", &args).await.succeeds().says("\u{1b}[").says("…");
    let plain = console_free(&told.text);
    assert!(plain.lines().all(|line| line.chars().count() <= 120), "{plain}");
    assert!(!plain.contains('\u{1b}') && !plain.contains('\u{202e}'), "only our own colours: {plain:?}");
    let piped = desk.at(&args).await.succeeds().text;
    assert!(!piped.contains('\u{1b}') && !piped.contains('…') && piped.contains("<b>"), "{piped}");
    let uncoloured = desk.in_terminal_after("export NO_COLOR=1", 120, "", &args).await.succeeds();
    assert_eq!(uncoloured.text, plain, "and only they differ");
    let document = desk.in_terminal(120, "", &["messages", "list", "--key", HOSTILE, "--json"]).await.succeeds();
    assert!(serde_json::from_str::<Value>(&document.text).is_ok(), "{}", document.text);
}

/// Without the sequences of colours.
fn console_free(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.map(|part| part.split_once('m').map_or(part, |(_, rest)| rest)).collect::<String>()
}

#[tokio::test]
async fn reader_that_has_seen_enough_ends_a_listing_in_peace() {
    let desk = Desk::new().await;
    desk.dead(3000, "no answer").await;
    let told = desk.in_terminal(200, "", &["dead", "--all"]).await.succeeds();
    assert!(told.text.lines().count() > 3000);
    let line = format!(
        "{} dead --all --database-url '{}' | head -n 1; test ${{PIPESTATUS[0]}} -eq 0",
        avouch_tests::process::binary().display(),
        desk.database.url()
    );
    let output = tokio::process::Command::new("bash").args(["-c", &line]).output().await.expect("there is a bash");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn command_reference_is_what_the_commands_say_of_themselves() {
    let page = read("docs/cli.md");
    assert!(
        page == avouch_runtime::cli::markdown(),
        "docs/cli.md is old: target/debug/avouch man --markdown > docs/cli.md"
    );
}
