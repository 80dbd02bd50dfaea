//! The screen: a picture that is redrawn in place in a terminal, one plain line a second elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

/// How many of the last events the picture shows.
const EVENTS_SHOWN: usize = 6;
/// How often the picture is drawn, and the line written.
pub const FRAME: Duration = Duration::from_millis(250);
const FRAMES_PER_LINE: u32 = 4;

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Since the shop opened.
    pub elapsed: Duration,
    /// What goes on now, in a few words.
    pub phase: String,
    /// The order service: alive, killed, …
    pub service: String,
    /// The runtime: alive, killed, …
    pub runtime: String,
    /// Transactions.
    pub committed: i64,
    /// Transactions.
    pub rolled_back: i64,
    /// Transactions in the last second.
    pub committed_per_s: i64,
    /// Outbox rows.
    pub ready: i64,
    /// Outbox rows.
    pub delayed: i64,
    /// Outbox rows.
    pub prepared: i64,
    /// Messages in the stream.
    pub published: u64,
    /// Messages in the last second.
    pub published_per_s: u64,
    /// Messages acknowledged by the consumer.
    pub consumed: usize,
    /// Deliveries of the same message.
    pub redelivered: u64,
    /// Messages that came late within their key.
    pub out_of_order: usize,
    /// Invoices, and how often the process that writes them was killed.
    pub invoices: (i64, u32),
    /// Parcels, likewise.
    pub parcels: (i64, u32),
}

/// How a stranger looks inside.
#[derive(Clone, Debug)]
pub struct Doors {
    /// Lines of text.
    pub lines: Vec<String>,
}

/// Where it is drawn.
pub struct Screen {
    is_terminal: bool,
    frames: u32,
    lines_drawn: usize,
    events: Vec<String>,
    doors: Doors,
}

impl Screen {
    /// Nothing is drawn yet.
    pub fn new(doors: Doors) -> Self {
        Self { is_terminal: io::stdout().is_terminal(), frames: 0, lines_drawn: 0, events: Vec::new(), doors }
    }

    /// Opens it: a reader of plain lines is told once how to look inside.
    pub fn open(&self) -> io::Result<()> {
        if self.is_terminal { Ok(()) } else { print(&format!("{}\n", self.doors.lines.join("\n"))) }
    }

    /// Something happened.
    pub fn tell(&mut self, at: Duration, what: &str) -> io::Result<()> {
        let line = format!("{:>6.1} s  {what}", at.as_secs_f64());
        if !self.is_terminal {
            print(&format!("{line}\n"))?;
        }
        self.events.push(line);
        let surplus = self.events.len().saturating_sub(EVENTS_SHOWN);
        self.events.drain(..surplus);
        Ok(())
    }

    /// Draws the picture over the last one, or writes its line when a second is over.
    pub fn draw(&mut self, picture: &Picture) -> io::Result<()> {
        let frame = self.frames;
        self.frames = self.frames.wrapping_add(1);
        if !self.is_terminal {
            return if frame.is_multiple_of(FRAMES_PER_LINE) { print(&line(picture)) } else { Ok(()) };
        }
        let lines = draw(picture, &self.events, &self.doors);
        // Long lines are cut by the terminal, or else they would move what is below them.
        let mut text = "\x1b[?7l".to_owned();
        if self.lines_drawn > 0 {
            // Writing to a String cannot fail.
            write!(text, "\x1b[{}A", self.lines_drawn).ok();
        }
        for line in &lines {
            writeln!(text, "\x1b[2K{line}").ok();
        }
        text.push_str("\x1b[J\x1b[?7h");
        self.lines_drawn = lines.len();
        print(&text)
    }
}

/// Unlike `println!`, says when nobody reads.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| io::Error::new(e.kind(), format!("standard output takes no more: {e}; the demo ends")))
}

fn line(p: &Picture) -> String {
    format!(
        "{:>6.1} s  orders: {} committed, {} rolled back ({}) | outbox: {} waiting, {} delayed, {} prepared | runtime: {} | stream: {} | consumed: {}, {} redelivered | {} invoices, {} parcels\n",
        p.elapsed.as_secs_f64(),
        p.committed,
        p.rolled_back,
        p.service,
        p.ready,
        p.delayed,
        p.prepared,
        p.runtime,
        p.published,
        p.consumed,
        p.redelivered,
        p.invoices.0,
        p.parcels.0
    )
}

fn draw(p: &Picture, events: &[String], doors: &Doors) -> Vec<String> {
    let head = "\x1b[1mAvouch: what a shop commits reaches NATS, whatever is killed on the way\x1b[0m".to_owned();
    let mut lines = vec![
        head,
        format!("{:.1} s \u{b7} {}", p.elapsed.as_secs_f64(), p.phase),
        String::new(),
        row("\x1b[1m", ["ORDER SERVICE", "OUTBOX", "RUNTIME", "STREAM AVOUCH", "CONSUMER"].map(str::to_owned), " "),
        row(
            "",
            [p.service.clone(), "Postgres".into(), p.runtime.clone(), "NATS JetStream".into(), "durable, acks".into()],
            " ",
        ),
        row(
            "\x1b[32m",
            [
                format!("{} committed", p.committed),
                format!("{} waiting", p.ready),
                "avouch run".into(),
                format!("{} messages", p.published),
                format!("{} consumed", p.consumed),
            ],
            "\u{2192}",
        ),
        row(
            "",
            [
                format!("{} rolled back", p.rolled_back),
                format!("{} delayed", p.delayed),
                format!("{}/s", p.published_per_s),
                String::new(),
                format!("{} redelivered", p.redelivered),
            ],
            " ",
        ),
        row(
            "",
            [
                format!("{}/s", p.committed_per_s),
                format!("{} prepared", p.prepared),
                String::new(),
                String::new(),
                format!("{} out of order", p.out_of_order),
            ],
            " ",
        ),
        String::new(),
        format!("INVOICES  {} written in the transaction of inbox_once; killed {} times", p.invoices.0, p.invoices.1),
        format!("PARCELS   {} booked after asking, with a token; killed {} times", p.parcels.0, p.parcels.1),
        String::new(),
    ];
    lines.extend((0..EVENTS_SHOWN).map(|i| events.get(i).cloned().unwrap_or_default()));
    lines.push(String::new());
    lines.extend(doors.lines.iter().cloned());
    lines
}

/// Five boxes, and what stands between them.
fn row(style: &str, cells: [String; 5], between: &str) -> String {
    let cells = cells.map(|cell| format!("{style}{cell:<16}\x1b[0m"));
    cells.join(&format!(" {between} ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_keeps_its_height_whatever_happens() {
        let doors = Doors { lines: vec!["look inside".into()] };
        let (quiet, busy) = (Vec::new(), vec!["x".to_owned(); EVENTS_SHOWN]);
        let picture = Picture::default();
        assert_eq!(draw(&picture, &quiet, &doors).len(), draw(&picture, &busy, &doors).len());
    }
}
