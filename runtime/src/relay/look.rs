//! When to read, when to look back, when to sleep, and the chores in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Attention, Done, INLINE_BYTES_MAX, MARK_ROWS_MIN, RELEASE_ROWS, Relay};
use crate::doorbell::Rung;
use crate::store::{Feeds, Owned};
use crate::window::Mark;

impl Relay {
    /// Somebody rang. Where rows are seldom K is kept: each of them rings, and costs one read and nothing else.
    pub(super) fn wake(&mut self, rung: Rung) {
        self.sweep_now |= rung.rescan;
        if rung.holds {
            self.holds_at = Instant::now();
        }
        match self.attention {
            Attention::Asleep if !rung.rescan => self.attention = Attention::LastLook,
            Attention::LastLook if !rung.rescan => self.look_again = true,
            _ => self.awake(),
        }
    }

    /// Gives K back, if it is held, and reads at once.
    pub(super) fn awake(&mut self) {
        if self.attention != Attention::Awake {
            self.parts.doorbell.wake_up();
        }
        self.attention = Attention::Awake;
        self.look_again = false;
        self.pace.now(Instant::now());
    }

    /// Reads on, if it is time and there is room.
    pub(super) fn start_reading(&mut self, now: Instant) {
        let is_time = match self.attention {
            Attention::Awake => self.pace.next() <= now,
            Attention::LastLook => true,
            Attention::FallingAsleep | Attention::Asleep => false,
        };
        if !is_time || self.reading || !self.may_work(now) || !self.holds_known || self.owes() {
            return;
        }
        let asks = self.window.plan_read();
        if asks.is_empty() {
            // Full, closed, or without shards: what changes that reads at once.
            self.full = true;
            self.pace.wait(now);
            if self.attention == Attention::LastLook {
                self.awake();
            }
            return;
        }
        self.reading = true;
        self.look_again = false;
        let (store, feeds) = (self.parts.store.clone(), self.feeds());
        self.work.push(Box::pin(async move {
            let began = Instant::now();
            let result = store.read_ready(&asks, &feeds, INLINE_BYTES_MAX).await;
            Done::Read { asks, took: began.elapsed(), result }
        }));
    }

    /// Marks what the broker holds, as much as has gathered.
    pub(super) fn start_marking(&mut self, now: Instant) {
        let marks = self.window.marks();
        if marks == 0 {
            self.mark_at = None;
        }
        let gathers = self.mark_at.is_some_and(|at| now < at) && !self.stopping;
        if self.marking || marks == 0 || (gathers && marks < MARK_ROWS_MIN) || self.store_silent_until.is_some() {
            return;
        }
        if self.is_outdated {
            return;
        }
        self.marking = true;
        let marks = self.window.take_marks(self.config.mark_rows_max);
        self.mark_at = (self.window.marks() > 0).then_some(now);
        self.meters.mark_rows.record(u32::try_from(marks.len()).unwrap_or(u32::MAX));
        let owned: Vec<Owned> = self.owned.iter().chain(&self.leaving).copied().collect();
        let (awaiting, version) = (self.awaiting(&marks), self.tracked.version);
        let store = self.parts.store.clone();
        self.work.push(Box::pin(async move {
            let began = Instant::now();
            let result = store.mark_sent(&owned, &marks, (&awaiting, version)).await;
            Done::Marked { marks, version, took: began.elapsed(), result }
        }));
    }

    /// Whose receipts each of these waits for.
    fn awaiting(&mut self, marks: &[Mark]) -> Vec<Option<Arc<str>>> {
        let (window, topics, tracked) = (&self.window, &self.parts.topics, &mut self.tracked);
        let of = |mark: &Mark| {
            let (message, feed) = window.message(mark.seq)?;
            tracked.awaiting(topics.stream(feed), &message.topic)
        };
        marks.iter().map(of).collect()
    }

    /// Looks back, releases what is due, and learns what is held.
    pub(super) fn start_chores(&mut self, now: Instant) {
        let may_work = self.may_work(now);
        let may_learn = may_work || self.is_outdated && self.store_silent_until.is_none();
        if may_learn && !self.holds_asked && self.holds_at <= now {
            self.holds_asked = true;
            let (store, burials) = (self.parts.store.clone(), self.burials);
            self.work.push(Box::pin(async move {
                let result = async { Ok((store.holds().await?, store.tracked().await?)) }.await;
                Done::Holds { burials, result }
            }));
        }
        if !may_work {
            return;
        }
        self.start_requeuing();
        self.start_looking_at_streams(now);
        self.start_looking_back(now);
        if !self.due_asked && self.due_at.is_some_and(|at| at <= now) {
            self.due_asked = true;
            let store = self.parts.store.clone();
            self.work.push(Box::pin(async move { Done::Released { result: store.release_due(RELEASE_ROWS).await } }));
        }
    }

    /// The safety poll: reads, and looks at everything below the cursors, in case a ring or a row was missed.
    fn start_looking_back(&mut self, now: Instant) {
        if self.looking_back || !(self.sweep_now || self.sweep_at <= now) || !self.holds_known {
            return;
        }
        self.sweep_now = false;
        self.sweep_at = now + Duration::from_millis(self.config.safety_poll_ms);
        self.pace.now(now);
        if self.attention == Attention::Asleep {
            self.attention = Attention::LastLook;
        }
        let asks = self.window.plan_look_back();
        if asks.is_empty() {
            return;
        }
        self.looking_back = true;
        self.meters.safety_polls.increment(1);
        let (store, feeds) = (self.parts.store.clone(), self.feeds());
        self.work.push(Box::pin(async move {
            let result = store.look_back(&asks, &feeds).await;
            Done::LookedBack { took: now.elapsed(), result }
        }));
    }

    /// Asks for K when nothing is left to do.
    pub(super) fn start_sleeping(&mut self, now: Instant) {
        let is_idle =
            self.window.is_empty() && !self.reading && !self.looking_back && !self.sweep_now && !self.owned.is_empty();
        if self.attention != Attention::Awake
            || !is_idle
            || !self.may_work(now)
            || now < self.sleep_at
            || !self.pace.may_sleep(now)
        {
            return;
        }
        self.attention = Attention::FallingAsleep;
        let shards: Vec<u16> = self.owned.iter().map(|o| o.shard).collect();
        let asked = self.parts.doorbell.fall_asleep(&shards);
        self.sleeps += 1;
        let wish = self.sleeps;
        self.work.push(Box::pin(async move { Done::Slept { wish, sleep: asked.await } }));
    }

    /// Working needs a lease, a database, and no stop.
    pub(super) fn may_work(&self, now: Instant) -> bool {
        !self.stopping && now < self.valid_until && self.store_silent_until.is_none()
    }

    fn feeds(&self) -> Feeds {
        let (low, previous) = self.window.horizon();
        let left_out = self.parts.topics.not_in_main(&self.window.holds().topics);
        Feeds { only: self.only.clone(), left_out, low, previous }
    }
}
