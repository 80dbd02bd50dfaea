//! The rig's own books: lines appended to files, and on disk before anything depends on them. No fault touches them.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::facts::{Deed, Effect, Fate, Number, Written};

/// Writers wait when so many lines are not on disk yet.
const LINES_MAX: usize = 1024;

/// What is written down.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    /// Before it is tried: what may have happened.
    Intent(Written),
    /// What its producer learned.
    Known(Number, Fate),
    Prepared(Deed),
    Did(Effect),
}

/// What the books say.
#[derive(Debug, Default)]
pub struct Books {
    pub written: Vec<Written>,
    pub deeds: Vec<Deed>,
    pub effects: Vec<Effect>,
}

/// Who has it may write; copies write into the same file.
#[derive(Debug, Clone)]
pub struct Ledger {
    lines: mpsc::Sender<(String, oneshot::Sender<()>)>,
    path: PathBuf,
}

impl Ledger {
    /// A new file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        let (lines, queue) = mpsc::channel(LINES_MAX);
        thread::Builder::new().name("ledger".into()).spawn(move || write(file, queue))?;
        Ok(Self { lines, path: path.to_path_buf() })
    }

    /// A message is about to be inserted. Returns once that is on disk.
    pub async fn intend(&self, written: &[Written]) {
        self.note(written.iter().cloned().map(Line::Intent)).await;
    }

    /// What became of them.
    pub async fn know(&self, fates: &[(Number, Fate)]) {
        self.note(fates.iter().map(|(number, fate)| Line::Known(*number, *fate))).await;
    }

    /// A transaction in doubt was prepared.
    pub async fn prepared(&self, deed: Deed) {
        self.note([Line::Prepared(deed)]).await;
    }

    /// A consumer acts.
    pub async fn did(&self, effect: Effect) {
        self.note([Line::Did(effect)]).await;
    }

    /// All that was written, read back.
    pub fn read(&self) -> anyhow::Result<Books> {
        let file = File::open(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        let mut books = Books::default();
        let mut at = HashMap::<Number, usize>::new();
        for line in BufReader::new(file).lines() {
            match serde_json::from_str(&line?)? {
                Line::Intent(written) => {
                    at.insert(written.number, books.written.len());
                    books.written.push(written);
                }
                Line::Known(number, fate) => {
                    let at = at.get(&number).with_context(|| format!("message {number} was not intended"))?;
                    books.written[*at].fate = fate;
                }
                Line::Prepared(deed) => books.deeds.push(deed),
                Line::Did(effect) => books.effects.push(effect),
            }
        }
        Ok(books)
    }

    async fn note(&self, lines: impl IntoIterator<Item = Line>) {
        let mut text = String::new();
        for line in lines {
            text.push_str(&serde_json::to_string(&line).expect("a line is plain data"));
            text.push('\n');
        }
        let (written, is_written) = oneshot::channel();
        let sent = self.lines.send((text, written)).await;
        sent.expect("the ledger is written for as long as somebody has it");
        is_written.await.expect("the ledger can be written: see above");
    }
}

/// Whatever waits is one write and one sync.
fn write(mut file: File, mut queue: mpsc::Receiver<(String, oneshot::Sender<()>)>) {
    while let Some((mut text, first)) = queue.blocking_recv() {
        let mut waiting = vec![first];
        while let Ok((more, next)) = queue.try_recv() {
            text.push_str(&more);
            waiting.push(next);
        }
        let done = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        done.expect("the ledger is on a disk that no fault touches");
        for waiter in waiting {
            // Whoever was interrupted does not wait any more.
            waiter.send(()).ok();
        }
    }
}
