//! Many at once: what a dry run tells, when a person must say yes, and how far it has come.

use std::collections::HashSet;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use uuid::Uuid;

use super::tell::usage;
use crate::store::Error;

/// With what care something is done.
#[derive(Args, Clone, Debug, Default)]
pub struct Care {
    /// Change nothing: say how many there are, and show some
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    consent: Consent,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
}

/// A person's yes.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Consent {
    /// Do not ask, however many there are
    #[arg(long, short)]
    yes: bool,
}

/// So many are done by one statement, and shown by one step of a bar.
const BATCH: usize = 500;
/// More than this are not done without a person's yes.
const UNASKED_MAX: usize = 100;
/// So many are shown by a dry run.
pub const EXAMPLES: usize = 5;

/// What a dry run tells programs.
#[derive(Debug, Serialize)]
pub struct Plan<'a, T> {
    /// What would be done.
    pub action: &'a str,
    /// True.
    pub dry_run: bool,
    /// With how many.
    pub count: usize,
    /// Some of them.
    pub examples: Vec<T>,
}

/// What became of them, for programs.
#[derive(Debug, Serialize)]
pub struct Outcome<'a> {
    /// What was done.
    pub action: &'a str,
    /// False.
    pub dry_run: bool,
    /// How many it was asked for.
    pub count: usize,
    /// With how many it was done.
    pub done: usize,
    /// The others, if they are known by name.
    pub not_done: Vec<Uuid>,
}

impl Care {
    /// In their words.
    pub fn why(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether so many may be touched: some are unasked.
    pub fn allows(&self, count: usize, what: &str) -> anyhow::Result<bool> {
        if count <= UNASKED_MAX {
            return Ok(true);
        }
        let needs =
            format!("more than {UNASKED_MAX} need --yes where nobody can be asked; --dry-run shows some of them");
        self.consent.asks(&format!("{count} {what}"), &needs)
    }

    /// Whether so many may be lost that were not named one by one: none is unasked.
    pub fn allows_loss(&self, count: usize, what: &str) -> anyhow::Result<bool> {
        let needs = "they need --yes where nobody can be asked; --dry-run shows some of them";
        Ok(count == 0 || self.consent.asks(&format!("{count} {what}"), needs)?)
    }
}

impl Consent {
    /// Whether something may be removed with what waits for it.
    pub fn allows_removal(self, waiting: i64, what: &str) -> anyhow::Result<bool> {
        let needs = "it needs --yes where nobody can be asked";
        Ok(waiting == 0 || self.asks(what, needs)?)
    }

    /// Asks in a terminal; elsewhere it must have been said before.
    fn asks(self, what: &str, needs: &str) -> anyhow::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return usage(format!("{what}: {needs}"));
        }
        eprint!("{what}. Go on? [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// Does it a batch at a time; a bar shows how far it is. What one batch did stays done if a later one fails.
pub async fn each<'a>(
    action: &'a str,
    ids: &[Uuid],
    act: impl AsyncFn(&[Uuid]) -> Result<Vec<Uuid>, Error>,
) -> anyhow::Result<Outcome<'a>> {
    let bar = bar(ids.len());
    let mut done = HashSet::with_capacity(ids.len());
    for batch in ids.chunks(BATCH) {
        let touched = act(batch).await.map_err(|e| stopped(e, action, done.len(), ids.len()))?;
        done.extend(touched);
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    let not_done: Vec<Uuid> = ids.iter().filter(|id| !done.contains(*id)).copied().collect();
    Ok(Outcome { action, dry_run: false, count: ids.len(), done: done.len(), not_done })
}

/// The same where they are only counted: a batch says with how many it was done. It ends when so many are done or none is left, also if
/// what was done comes back meanwhile.
pub async fn counted<'a>(
    action: &'a str,
    count: usize,
    act: impl AsyncFn(usize) -> Result<usize, Error>,
) -> anyhow::Result<Outcome<'a>> {
    let bar = bar(count);
    let mut done = 0;
    while done < count {
        let step = act(BATCH.min(count - done)).await.map_err(|e| stopped(e, action, done, count))?;
        if step == 0 {
            break;
        }
        done += step;
        bar.inc(step as u64);
    }
    bar.finish_and_clear();
    Ok(Outcome { action, dry_run: false, count, done, not_done: Vec::new() })
}

/// What was done before it stays done. What is refused is refused again.
fn stopped(e: Error, action: &str, done: usize, of: usize) -> anyhow::Error {
    let next = if matches!(e, Error::Refused(_)) { "" } else { ": repeat it for those" };
    anyhow::Error::new(e).context(format!("{action}: {done} of {of} are done, and the others are not{next}"))
}

/// The end of what was not allowed.
pub fn nothing_done() -> anyhow::Result<ExitCode> {
    eprintln!("nothing done");
    Ok(ExitCode::FAILURE)
}

/// On standard error, in a terminal, if it takes more than a moment.
fn bar(count: usize) -> ProgressBar {
    if count <= BATCH {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len}, {eta} left");
    ProgressBar::new(count as u64).with_style(style.expect("the template is right"))
}

/// Something that is over when nothing is left, of the most that ever was; without a number while that is not known.
pub fn remainder() -> ProgressBar {
    let bar = spinner();
    let style = ProgressStyle::with_template("{spinner} {bar:30} {msg}");
    bar.with_style(style.expect("the template is right"))
}

/// Something that takes an unknown time; tells nothing where there is no terminal.
pub fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn what_comes_back_meanwhile_is_not_done_again_and_again() {
        let steps = RefCell::new(Vec::new());
        let all = async |rows: usize| {
            steps.borrow_mut().push(rows);
            Ok::<_, Error>(rows)
        };
        let outcome = counted("again", 1_200, all).await.expect("nothing fails");
        assert_eq!((outcome.done, steps.take()), (1_200, vec![500, 500, 200]));
        let outcome = counted("again", 10, async |_| Ok::<_, Error>(0)).await.expect("nothing fails");
        assert_eq!((outcome.done, outcome.count), (0, 10), "somebody else was faster");
    }
}
