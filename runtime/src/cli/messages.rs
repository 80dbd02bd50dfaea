//! `avouch messages list|show`: what is in the outbox, and what happened to each.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use time::OffsetDateTime;
use uuid::Uuid;

use super::history::{self, Shown};
use super::operator::{Form, Operator};
use super::table::{Cell, Fit, Table};
use super::tell::{self, Usage};
use super::times::{shown, time_of};
use super::{redo, redo::Replay, redo::Which};
use crate::store::search::{Found, Search};
use crate::store::views::Message;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List messages, the newest first
    List(List),
    /// Show a message: its facts, who it waits for, and what happened to it
    Show {
        /// Its id
        id: Uuid,
        /// Show its payload too
        #[arg(long)]
        payload: bool,
        /// So much of it
        #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(i32).range(1..))]
        bytes_max: i32,
    },
    /// Send dead messages again, as their next generation
    Resend(Which),
    /// Give messages up that were not sent, or are dead
    Discard(Which),
    /// Send messages to one consumer once more, also what it has finished
    Replay(Replay),
}

/// Which messages: those for which all of this is true.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Of this topic, or of all below one: orders.created, orders.>
    #[arg(long)]
    pub topic: Option<String>,
    /// With this key
    #[arg(long)]
    pub key: Option<String>,
    /// For which this consumer is waited, or for which they are dead; `-`: dead, and never sent
    #[arg(long)]
    pub consumer: Option<String>,
    /// Dead with this reason, as `avouch dead groups` shows it
    #[arg(long)]
    pub failure: Option<String>,
    /// Inserted at this time or later: 2026-01-31T12:00:00Z, or how long ago: 15m, 2h, 7d
    #[arg(long, value_parser = time_of)]
    pub since: Option<OffsetDateTime>,
    /// Inserted before this time
    #[arg(long, value_parser = time_of)]
    pub until: Option<OffsetDateTime>,
}

#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    filter: Filter,
    /// In this state: prepared, ready, delayed, sent, consumed, cancelled, dead, discarded
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

/// How much of what is found is listed.
#[derive(Args, Clone, Debug)]
pub struct Extent {
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Go on where a listing before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// The most that one answer of the store holds.
pub const ANSWER_ROWS: i64 = 500;
/// An answer looks at some ten thousand rows, and may hold less than was asked for. Without --all so many of these are enough.
const POOR_ANSWERS_MAX: usize = 20;
const COLUMNS: &[(&str, Fit)] = &[
    ("id", Fit::Whole),
    ("inserted", Fit::Whole),
    ("state", Fit::Whole),
    ("topic", Fit::Cut),
    ("key", Fit::Cut),
    ("waits for", Fit::Cut),
    ("why", Fit::Cut),
];

pub async fn run(operator: &Operator, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(list) => {
            let search = list.filter.search(list.state);
            let layout = Layout { columns: COLUMNS, none: "no message is like that" };
            listed(operator, search, list.extent, layout, row).await
        }
        Command::Show { id, payload, bytes_max } => show(operator, id, payload.then_some(bytes_max)).await,
        Command::Resend(which) => redo::resend(operator, which).await,
        Command::Discard(which) => redo::discard(operator, which).await,
        Command::Replay(replay) => redo::replay(operator, replay).await,
    }
}

impl Filter {
    /// Whether it names anything.
    pub fn is_any(&self) -> bool {
        let texts = [&self.topic, &self.key, &self.consumer, &self.failure];
        texts.iter().any(|t| t.is_some()) || self.since.is_some() || self.until.is_some()
    }

    /// What the store is asked.
    pub fn search(self, state: Option<String>) -> Search {
        let Self { topic, key, consumer, failure, since, until } = self;
        Search { topic, key, state, consumer, failure, since, until, cursor: None, limit: Some(ANSWER_ROWS) }
    }
}

/// How a listing looks.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The table's.
    pub columns: &'static [(&'static str, Fit)],
    /// What is said instead of an empty one.
    pub none: &'static str,
}

/// Lists what is found, an answer of the store at a time.
pub async fn listed<const N: usize>(
    operator: &Operator,
    mut search: Search,
    extent: Extent,
    layout: Layout,
    rows_of: impl Fn(&Message) -> Vec<[Cell; N]>,
) -> anyhow::Result<ExitCode> {
    search.cursor = extent.cursor;
    let mut left = if extent.all { usize::MAX } else { usize::try_from(extent.limit).unwrap_or(usize::MAX) };
    let (mut listing, mut poor) = (Listing::new(operator.form, layout), 0);
    loop {
        let asked = ANSWER_ROWS.min(i64::try_from(left).unwrap_or(ANSWER_ROWS));
        search.limit = Some(asked);
        let found = answer(operator, &search).await?;
        poor += usize::from(i64::try_from(found.messages.len()).is_ok_and(|got| got < asked));
        left -= found.messages.len().min(left);
        listing.add(&found.messages, &rows_of)?;
        search.cursor = found.cursor;
        let is_enough = left == 0 || !extent.all && poor == POOR_ANSWERS_MAX;
        if search.cursor.is_none() || is_enough {
            listing.end(search.cursor.as_deref())?;
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// One answer; what cannot be searched for is the caller's fault.
async fn answer(operator: &Operator, search: &Search) -> anyhow::Result<Found> {
    let found = operator.store.search(search).await?;
    Ok(found.map_err(|refused| Usage(refused.to_string()))?)
}

/// A listing that is printed as it is found: neither a table nor a document need fit into memory.
struct Listing {
    form: Form,
    table: Table,
    none: &'static str,
    count: usize,
}

impl Listing {
    fn new(form: Form, Layout { columns, none }: Layout) -> Self {
        Self { form, table: Table::new(columns), none, count: 0 }
    }

    fn add<const N: usize>(
        &mut self,
        messages: &[Message],
        rows_of: impl Fn(&Message) -> Vec<[Cell; N]>,
    ) -> anyhow::Result<()> {
        let mut lines = String::new();
        for message in messages {
            match self.form {
                Form::Text => rows_of(message).into_iter().for_each(|row| self.table.row(row)),
                Form::Json => {
                    lines += if self.count == 0 { "{\"messages\": [\n" } else { ",\n" };
                    lines += &tell::line_of(message)?;
                }
            }
            self.count += 1;
        }
        if self.form == Form::Text {
            lines = self.table.take();
        }
        if lines.is_empty() { Ok(()) } else { tell::text(&lines) }
    }

    fn end(&self, cursor: Option<&str>) -> anyhow::Result<()> {
        match (self.form, cursor) {
            (Form::Json, _) => {
                let begin = if self.count == 0 { "{\"messages\": [" } else { "" };
                tell::text(&format!("{begin}], \"cursor\": {}}}", serde_json::to_string(&cursor)?))
            }
            (Form::Text, None) if self.count == 0 => tell::text(self.none),
            (Form::Text, Some(cursor)) => {
                eprintln!("there may be more: --all, or --cursor {cursor}");
                Ok(())
            }
            (Form::Text, None) => Ok(()),
        }
    }
}

/// A table of these messages.
pub fn table(messages: &[Message]) -> String {
    let mut table = Table::new(COLUMNS);
    messages.iter().flat_map(row).for_each(|cells| table.row(cells));
    table.take()
}

fn row(message: &Message) -> Vec<[Cell; 7]> {
    let waits: Vec<&str> = message.waits_for.iter().map(|w| w.consumer.as_str()).collect();
    let why = message.held.as_deref().or(message.reason.as_deref()).unwrap_or_default();
    vec![[
        message.id.to_string().into(),
        shown(message.created_at).into(),
        Cell::state(&message.state),
        message.topic.as_str().into(),
        message.key.as_deref().into(),
        if waits.is_empty() { "-".into() } else { waits.join(" ").into() },
        why.into(),
    ]]
}

async fn show(operator: &Operator, id: Uuid, bytes_max: Option<i32>) -> anyhow::Result<ExitCode> {
    let (message, timeline) = (operator.store.message(id).await?, operator.store.timeline(id).await?);
    if message.is_none() && timeline.is_empty() {
        anyhow::bail!("message {id} is not known here: it was retired, or stands in another database (--source)");
    }
    let payload = match bytes_max {
        Some(bytes_max) => operator.store.payload_shown(id, bytes_max).await?,
        None => None,
    };
    let shown = Shown { message, timeline, payload };
    operator.tell(&shown, || history::of_message(&shown))?;
    Ok(ExitCode::SUCCESS)
}
