//! The task that sends spans to a collector, a batch at a time, and keeps them for a while if it is away. What is dropped is counted;
//! a collector that is away costs one line of the log.

use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::Counter;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::otlp::{Answer, Collector};
use crate::lifecycle::Backoff;

/// Spans of one request.
const BATCH_MAX: usize = 512;
/// Spans wait this long for others.
const GATHER: Duration = Duration::from_millis(500);
/// The first wait after a failure, and the longest, whatever the collector asks for.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// A batch is given up after this long: its collector has had time to restart.
const RETRY_FOR: Duration = Duration::from_secs(60);
/// What is left when the runtime stops may take this long.
const LAST_LIMIT: Duration = Duration::from_secs(2);
/// A collector that comes and goes is told of this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Spans that nobody gets to see, by why.
pub fn dropped(why: &'static str) -> Counter {
    metrics::counter!("avouch_spans_dropped_total", "why" => why)
}

/// The task.
pub struct Exporter {
    to: Collector,
    queue: mpsc::Receiver<Box<SpanData>>,
    sent: Counter,
    rejected: Counter,
    undelivered: Counter,
    /// Whether it fails, whether that was told, and when anything like it was.
    failing: bool,
    told: bool,
    told_at: Option<Instant>,
}

impl Exporter {
    /// Sends what comes out of this queue.
    pub fn new(to: Collector, queue: mpsc::Receiver<Box<SpanData>>) -> Self {
        let (sent, rejected) = (metrics::counter!("avouch_spans_sent_total"), dropped("rejected"));
        Self {
            to,
            queue,
            sent,
            rejected,
            undelivered: dropped("not_delivered"),
            failing: false,
            told: false,
            told_at: None,
        }
    }

    /// Sends until `stop`, then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut left = None;
        while !stop.is_cancelled() {
            let batch = self.gather(&stop).await;
            if batch.is_empty() {
                continue;
            }
            let (request, spans) = self.request(batch);
            if !self.deliver(&request, spans, &stop).await {
                left = Some((request, spans));
            }
        }
        let last = tokio::time::timeout(LAST_LIMIT, self.send_last(&mut left)).await;
        let lost = left.map_or(0, |(_, spans)| spans) + self.queue.len() as u64;
        if last.is_err() || lost > 0 {
            self.undelivered.increment(lost);
            tracing::info!(spans = lost, "the last spans were not delivered: the collector did not take them in time");
        }
    }

    /// The next batch; empty when it is time to stop.
    async fn gather(&mut self, stop: &CancellationToken) -> Vec<Box<SpanData>> {
        let mut batch = Vec::new();
        tokio::select! {
            () = stop.cancelled() => return batch,
            count = self.queue.recv_many(&mut batch, BATCH_MAX) => if count == 0 {
                // Nobody is left who could tell anything.
                stop.cancelled().await;
            }
        }
        let until = tokio::time::Instant::now() + GATHER;
        while let room @ 1.. = BATCH_MAX - batch.len() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(until) => break,
                count = self.queue.recv_many(&mut batch, room) => if count == 0 { break },
            }
        }
        batch
    }

    #[expect(clippy::vec_box, reason = "they come boxed through the queue, and are large: moving them costs more")]
    fn request(&self, batch: Vec<Box<SpanData>>) -> (Bytes, u64) {
        let spans = batch.len() as u64;
        (self.to.request(batch.into_iter().map(|span| *span).collect()), spans)
    }

    /// Tries until the collector has it, or it is given up. False if that was broken off by `stop`.
    async fn deliver(&mut self, request: &Bytes, spans: u64, stop: &CancellationToken) -> bool {
        let (began, mut backoff) = (Instant::now(), Backoff::new(RETRY.0, RETRY.1));
        loop {
            let answer = tokio::select! {
                () = stop.cancelled() => return false,
                answer = self.to.send(request.clone()) => answer,
            };
            let Some(asked) = self.take(answer, spans) else { return true };
            if began.elapsed() >= RETRY_FOR {
                self.undelivered.increment(spans);
                return true;
            }
            let wait = asked.unwrap_or_default().max(backoff.failed()).min(RETRY.1);
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What was being sent, and what waits, each once.
    async fn send_last(&mut self, left: &mut Option<(Bytes, u64)>) {
        loop {
            if left.is_none() {
                let mut batch = Vec::new();
                while batch.len() < BATCH_MAX
                    && let Ok(span) = self.queue.try_recv()
                {
                    batch.push(span);
                }
                if batch.is_empty() {
                    return;
                }
                *left = Some(self.request(batch));
            }
            let Some((request, spans)) = left else { return };
            let (request, spans) = (request.clone(), *spans);
            let answer = self.to.send(request).await;
            if self.take(answer, spans).is_some() {
                return;
            }
            *left = None;
        }
    }

    /// Counts what an answer means. If it is to be tried again: after how long, if the collector says so.
    fn take(&mut self, answer: Answer, spans: u64) -> Option<Option<Duration>> {
        match answer {
            Answer::Taken(rejected, why) => {
                let rejected = rejected.min(spans);
                self.sent.increment(spans - rejected);
                self.rejected.increment(rejected);
                if rejected > 0 {
                    self.tell_failing(&format!("it rejects {rejected} of {spans}: {}", why.escape_debug()));
                } else {
                    self.tell_working();
                }
                None
            }
            Answer::Refused(why) => {
                self.rejected.increment(spans);
                self.tell_failing(&why);
                None
            }
            Answer::Failed(why, after) => {
                self.tell_failing(&why);
                Some(after)
            }
        }
    }

    fn tell_failing(&mut self, why: &str) {
        let is_new = !std::mem::replace(&mut self.failing, true);
        if is_new && self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            (self.told, self.told_at) = (true, Some(Instant::now()));
            tracing::warn!(
                why,
                "spans cannot be delivered: what the queue does not hold is dropped until the collector takes them"
            );
        }
    }

    fn tell_working(&mut self) {
        if std::mem::take(&mut self.failing) && std::mem::take(&mut self.told) {
            tracing::info!("the collector takes spans again");
        }
    }
}
