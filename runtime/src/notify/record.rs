//! The loop that records what is to be told, and to whom: one instance at a time, so that it stands in the order of its stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::roster::Roster;
use super::{Config, EndpointConfig};
use crate::broker::{Fed, Feed};
use crate::killpoint::{self, Point};
use crate::outside::Outside;
use crate::shards::Ownership;
use crate::store::Store;
use crate::store::notify::Notice;

/// The loop.
pub struct Record {
    store: Arc<Store>,
    feed: Feed,
    ownership: watch::Receiver<Ownership>,
    configured: BTreeMap<String, EndpointConfig>,
    outside: Arc<Outside>,
    roster: Roster,
    read_at: Option<Instant>,
    every: Duration,
    /// Rung when something was recorded.
    recorded: Arc<Notify>,
    /// Taken from the broker, and not recorded yet.
    held: Vec<Fed>,
    failing: bool,
}

/// How long who is told may be as it was: a new endpoint is told what comes after this.
const ROSTER_AGE_MAX: Duration = Duration::from_secs(1);
/// How long to wait for messages before looking around.
const PATIENCE: Duration = Duration::from_millis(500);

impl Record {
    /// A loop that records what this feed brings while this instance owns shard 0.
    pub fn new(
        config: &Config,
        configured: BTreeMap<String, EndpointConfig>,
        (store, feed): (Arc<Store>, Feed),
        outside: Arc<Outside>,
        ownership: watch::Receiver<Ownership>,
        recorded: Arc<Notify>,
    ) -> Self {
        Self {
            store,
            feed,
            ownership,
            configured,
            outside,
            roster: Roster::default(),
            read_at: None,
            every: Duration::from_millis(config.every_ms),
            recorded,
            held: Vec::new(),
            failing: false,
        }
    }

    /// Records until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let result = tokio::select! {
                () = stop.cancelled() => break,
                result = self.pass() => result,
            };
            match &result {
                Ok(()) if self.failing => tracing::info!("what outside parties are told is recorded again"),
                Ok(()) => {}
                Err(e) if self.failing => {
                    tracing::debug!(error = %e, "what outside parties are told cannot be recorded")
                }
                Err(e) => tracing::warn!(error = %e, "what outside parties are told cannot be recorded; trying again"),
            }
            self.failing = result.is_err();
            if self.failing {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(self.every) => {}
                }
            }
        }
        self.feed.close(self.held).await;
    }

    /// Records what has arrived within a moment.
    pub async fn pass(&mut self) -> anyhow::Result<()> {
        if !self.ownership.borrow().leads() {
            let held = std::mem::take(&mut self.held);
            self.feed.close(held).await;
            tokio::time::sleep(self.every).await;
            return Ok(());
        }
        if self.held.is_empty() {
            if !self.feed.is_open() {
                self.feed.open().await?;
            }
            self.held = self.feed.next(PATIENCE).await?;
        }
        if self.held.is_empty() {
            return Ok(());
        }
        if self.read_at.is_none_or(|at| at.elapsed() > ROSTER_AGE_MAX) {
            self.roster = Roster::read(&self.store, &self.configured, &self.outside, &self.roster).await?;
            self.read_at = Some(Instant::now());
        }
        let notices: Vec<Notice> = self.held.iter().filter_map(notice).collect();
        let (mut told, mut pairs) = (Vec::new(), Vec::new());
        for notice in notices {
            let place = told.len();
            pairs.extend(self.roster.of(&notice).map(|endpoint| (place, endpoint)));
            if pairs.last().is_some_and(|(last, _)| *last == place) {
                told.push(notice);
            }
        }
        if !pairs.is_empty() {
            self.store.record_notices(&told, &pairs).await?;
            killpoint::reached_by(Point::NoticeRecorded, told.len());
            self.recorded.notify_one();
        }
        for fed in self.held.drain(..) {
            fed.ack().await;
        }
        Ok(())
    }
}

/// What is told; none: somebody else has published it into our subjects.
fn notice(fed: &Fed) -> Option<Notice> {
    let Some(told) = fed.told() else {
        tracing::warn!(subject = fed.subject(), "a message that is not Avouch's is told to nobody");
        return None;
    };
    Some(Notice {
        id: told.id,
        topic: told.topic,
        key: told.key,
        payload: fed.payload(),
        headers: fed.headers().collect(),
        created_at: told.created_at,
    })
}
