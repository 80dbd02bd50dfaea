//! One sink: a task of its own that delivers one alarm after the other, tries again, and gives up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use metrics::Counter;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::books::Books;
use super::command::Command;
use super::mail::Mail;
use super::webhook::Webhook;
use super::{Alarm, Config, Error, Port, SUBJECTS_MAX};
use crate::lifecycle::Backoff;

/// Tries of one alarm: with the pauses below, a sink may be away for a quarter of a minute.
const TRIES_MAX: u32 = 6;
/// The first pause between two tries, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// What is left when the runtime stops may take this long.
const LAST_LIMIT: Duration = Duration::from_secs(2);

/// A sink's task.
pub struct Sink {
    port: Arc<Port>,
    way: Way,
}

enum Way {
    Webhook(Webhook),
    Command(Command),
    Mail(Mail),
}

impl Sink {
    /// Reads its settings, secrets included; connects when there is something to say.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let way = match (&config.webhook, &config.command, &config.smtp) {
            (Some(webhook), None, None) => Webhook::new(webhook).map(Way::Webhook),
            (None, Some(words), None) => Command::new(words).map(Way::Command),
            (None, None, Some(smtp)) => Mail::new(smtp).map(Way::Mail),
            _ => Err("give exactly one of webhook, command and smtp".to_owned()),
        };
        let way = way.map_err(|why| Error::Fatal(format!("alarm {}: {why}", config.name())))?;
        let books = Mutex::new(Books::new(Duration::from_millis(config.repeat_ms), SUBJECTS_MAX));
        Ok(Self { port: Arc::new(Port { config: config.clone(), books, rung: Notify::new() }), way })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.port.config.name()
    }

    pub(super) fn port(&self) -> Arc<Port> {
        Arc::clone(&self.port)
    }

    /// Delivers until `stop`, then what is left.
    pub async fn run(self, stop: CancellationToken) {
        self.undelivered().increment(0);
        let last = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_LIMIT).await;
        };
        tokio::select! {
            () = self.deliver_all(&stop) => {}
            () = last => {
                tracing::warn!(sink = self.name(), "not all alarms could be delivered before the end: the others are only in this log");
            }
        }
    }

    fn undelivered(&self) -> Counter {
        metrics::counter!("avouch_alarms_undelivered_total", "sink" => self.name().to_owned())
    }

    async fn deliver_all(&self, stop: &CancellationToken) {
        loop {
            let stopping = stop.is_cancelled();
            let next = self.port.books().next(Instant::now());
            let next = next.or_else(|| if stopping { self.port.books().rest() } else { None });
            if let Some(alarm) = next {
                self.deliver(&alarm).await;
                continue;
            }
            if stopping {
                return;
            }
            let wake_at = self.port.books().next_at();
            let due = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.port.rung.notified() => {}
                () = due => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Tries until it arrives, or has been tried often enough.
    async fn deliver(&self, alarm: &Alarm) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut tries = 1;
        let error = loop {
            match self.send(alarm).await {
                Ok(()) => break None,
                Err(Error::Retry(why)) if tries < TRIES_MAX => {
                    tracing::debug!(sink = self.name(), why, "an alarm did not arrive; trying again");
                }
                Err(e) => break Some(e),
            }
            tries += 1;
            tokio::time::sleep(backoff.failed()).await;
        };
        if let Some(error) = error {
            self.undelivered().increment(1);
            tracing::error!(
                sink = self.name(), kind = alarm.kind.name(), tries, %error,
                "an alarm could not be delivered: it is only in this log; try the sink with avouch alarm test"
            );
            return;
        }
        let lost = self.port.books().take_lost();
        if lost > 0 {
            tracing::warn!(sink = self.name(), lost, "the sink takes alarms again; some are only in this log");
        }
    }

    /// Tries once.
    pub async fn send(&self, alarm: &Alarm) -> Result<(), Error> {
        let json = serde_json::to_vec(alarm).map_err(|e| Error::Refused(e.to_string()))?;
        let work = async {
            match &self.way {
                Way::Webhook(webhook) => webhook.send(json).await,
                Way::Command(command) => command.run(alarm, &json).await,
                Way::Mail(mail) => mail.send(alarm).await,
            }
        };
        let timeout_ms = self.port.config.timeout_ms;
        let late = || Error::Retry(format!("it took longer than its timeout_ms = {timeout_ms}"));
        tokio::time::timeout(Duration::from_millis(timeout_ms), work).await.unwrap_or_else(|_| Err(late()))
    }
}
