//! Sending, and what the broker's answers do to messages and gates.

use std::time::{Duration, Instant};

use super::meters::Retry;
use super::{Done, FETCHES_MAX, IN_PROCESS_WAIT, MARK_GATHER, Relay, SEND_BURST};
use crate::broker::{Refusal, Reply};
use crate::killpoint::{self, Point};
use crate::lifecycle::{Answer, Death};
use crate::message::Payload;
use crate::store::Owned;
use crate::topics::OnDead;
use crate::trace::trace_id;

impl Relay {
    /// Hands what may go to the connection, up to a burst. Returns true if there is more.
    pub(super) async fn send(&mut self, now: Instant) -> bool {
        if self.stopping || now >= self.valid_until || self.owes() {
            return false;
        }
        let mut burst = SEND_BURST;
        for feed in 0..self.only.len() {
            self.rate_waits[feed] = None;
            while self.window.in_flight() < self.config.in_flight_max && self.gates[self.stream_of(feed)].admits() {
                if burst == 0 {
                    return true;
                }
                let Some(seq) = self.window.next_sendable(feed) else { break };
                if let Some(Err(at)) = self.buckets[feed].as_mut().map(|b| b.take(now)) {
                    self.rate_waits[feed] = Some(at);
                    self.window.put_back(seq);
                    break;
                }
                if !self.send_one(feed, seq, now).await {
                    break;
                }
                burst -= 1;
            }
        }
        false
    }

    /// Sends one message, or begins what must come before. Returns false if there is no room now.
    async fn send_one(&mut self, feed: usize, seq: i64, now: Instant) -> bool {
        let Some((message, _)) = self.window.message(seq) else { return true };
        if let Some(reason) = self.parts.topics.refusal(&message.topic) {
            self.bury(seq, Death::UnknownTopic, reason);
            return true;
        }
        let payload = match &message.payload {
            Payload::Here(bytes) => bytes.clone(),
            Payload::Behind { bytes } => return self.fetch(seq, *bytes),
        };
        let subject = self.parts.topics.subject(feed, &message.topic);
        match self.parts.broker.publish(&subject, message, payload).await {
            Ok(()) => {
                self.window.sent(seq, now);
                let stream = self.stream_of(feed);
                self.gates[stream].sent(seq);
            }
            Err(Refusal::Permanent(class, reason)) => self.bury(seq, class, reason),
            Err(Refusal::Broker(why)) => {
                self.window.put_back(seq);
                self.trouble(self.stream_of(feed), &why);
                return false;
            }
        }
        true
    }

    /// Fetches a payload that was too large to be read with the others, if there is room for it.
    fn fetch(&mut self, seq: i64, bytes: usize) -> bool {
        if let Some(reason) = self.parts.broker.refuses(bytes) {
            self.bury(seq, Death::TooLarge, reason);
            return true;
        }
        if self.fetching >= FETCHES_MAX || !self.window.has_room_for(bytes) || self.store_silent_until.is_some() {
            self.window.put_back(seq);
            return false;
        }
        let Some(id) = self.window.message(seq).map(|(m, _)| m.id) else { return true };
        if self.window.settling(seq) {
            self.fetching += 1;
            let store = self.parts.store.clone();
            self.work.push(Box::pin(async move { Done::Fetched { seq, id, result: store.payload(id).await } }));
        }
        true
    }

    /// Takes the broker's answers.
    pub(super) fn take_replies(&mut self, replies: Vec<Reply>) {
        self.meters.answers_came();
        for Reply { seq, generation, id, answer } in replies {
            let Some((message, feed)) = self.window.message(seq) else { continue };
            if (message.generation, message.id) != (generation, id) {
                continue;
            }
            let stream = self.stream_of(feed);
            match answer {
                Answer::Stored { stream: name, stream_seq, duplicate } => {
                    self.stored(seq, stream, &name, stream_seq, duplicate);
                }
                Answer::InProcess => self.in_process.push((Instant::now() + IN_PROCESS_WAIT, seq)),
                Answer::Refused(reason) => {
                    self.gate_succeeded(stream);
                    self.bury(seq, Death::TooLarge, reason);
                }
                Answer::Unavailable(why) => {
                    self.retry(seq, stream, Retry::Unavailable);
                    self.trouble(stream, &why);
                }
            }
        }
        self.meters.answers_taken();
    }

    /// It goes to the stream again, under the same id.
    pub(super) fn retry(&mut self, seq: i64, stream: usize, why: Retry) {
        if self.window.retry(seq) {
            self.meters.retried(stream, why);
        }
    }

    fn stored(&mut self, seq: i64, stream: usize, name: &str, stream_seq: u64, duplicate: bool) {
        let expected = &self.parts.streams[stream].name;
        if name != expected {
            let why =
                format!("its subjects are taken by stream {name}: point the topic there, or correct subject_prefix");
            self.retry(seq, stream, Retry::OtherStream);
            self.trouble(stream, &why);
            return;
        }
        killpoint::reached(Point::AckReceived);
        self.gate_succeeded(stream);
        if duplicate {
            self.look_at_what_is_held(seq, stream, stream_seq);
        } else if self.gates[stream].stored(stream_seq) {
            self.mark(seq, stream, stream_seq);
        } else {
            // It has given this sequence before.
            self.retry(seq, stream, Retry::Repeated);
            self.look_again(stream);
        }
    }

    /// The broker holds it: it may be marked.
    pub(super) fn mark(&mut self, seq: i64, stream: usize, stream_seq: u64) {
        let (Some(id), Ok(stream_seq)) = (self.gates[stream].stream(), i64::try_from(stream_seq)) else { return };
        if self.window.stored(seq, id, stream_seq) {
            self.sent_total += 1;
            if let Some(flight) = self.window.flight(seq) {
                self.meters.acked(stream, &flight);
                self.tell_published(&flight, stream_seq);
            }
            self.mark_at.get_or_insert_with(|| Instant::now() + MARK_GATHER);
        }
    }

    /// After a purge, the server claims a duplicate that it does not hold.
    fn look_at_what_is_held(&mut self, seq: i64, stream: usize, stream_seq: u64) {
        let Some((message, _)) = self.window.message(seq) else { return };
        let (id, msg_id, handle) = (message.id, message.msg_id(), self.parts.streams[stream].clone());
        self.work.push(Box::pin(async move {
            let result = handle.holds(stream_seq, &msg_id).await;
            Done::Held { seq, id, stream, stream_seq, result }
        }));
    }

    /// The message can never be sent as it is.
    pub(super) fn bury(&mut self, seq: i64, class: Death, reason: String) {
        let Some((message, _)) = self.window.message(seq) else { return };
        let (shard, key) = (message.shard, message.key.as_deref().map(str::to_owned));
        let parks = self.parts.topics.on_dead(&message.topic) == OnDead::Park;
        let (id, topic, trace_id) = (message.id, message.topic.clone(), trace_id(&message.own_headers()));
        let Some(owned) = self.owned_of(shard) else { return };
        if !self.window.settling(seq) {
            return;
        }
        let behind = if parks && key.is_some() { "; later messages of its key wait" } else { "" };
        let why = format!("{reason}{behind}");
        self.parts.alarms.dead(&topic, id, trace_id, &why);
        let store = self.parts.store.clone();
        let parked = key.filter(|_| parks);
        self.work.push(Box::pin(async move {
            let result = store.bury(owned, (seq, id), &reason, parks).await;
            Done::Buried { seq, id, class, parked, result }
        }));
    }

    /// What has flown too long is sent again; what was in process is asked for again.
    pub(super) fn time_out(&mut self, now: Instant) {
        let timeout = Duration::from_millis(self.config.ack_timeout_ms);
        let overdue = now.checked_sub(timeout).map_or_else(Vec::new, |before| self.window.overdue(before));
        for seq in overdue {
            let Some((_, feed)) = self.window.message(seq) else { continue };
            self.retry(seq, self.stream_of(feed), Retry::Timeout);
            self.trouble(self.stream_of(feed), &format!("no PubAck within {} ms", self.config.ack_timeout_ms));
        }
        let (due, later) =
            std::mem::take(&mut self.in_process).into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= now);
        self.in_process = later;
        for (_, seq) in due {
            self.retry_in_its_stream(seq, Retry::InProcess);
        }
    }

    /// The connection was lost or is back: what flew is sent again, as soon as its stream has been seen.
    pub(super) fn connection_changed(&mut self, is_connected: bool) {
        if is_connected {
            tracing::info!("connected to NATS");
            let now = Instant::now();
            self.gates.iter_mut().for_each(|gate| gate.reset(None, now));
            self.report();
        } else {
            tracing::warn!("the connection to NATS is lost: rows wait in the database");
            self.disconnected();
        }
    }

    /// Without a connection nothing is sent, and nothing will be answered.
    pub(super) fn disconnected(&mut self) {
        let now = Instant::now();
        for seq in self.window.overdue(now) {
            self.retry_in_its_stream(seq, Retry::Disconnected);
        }
        for (stream, gate) in self.gates.iter_mut().enumerate() {
            gate.reset(Some("not connected to NATS"), now);
            self.window.close_stream(stream);
        }
        self.report();
    }

    /// Nothing goes to this stream for a while.
    pub(super) fn trouble(&mut self, stream: usize, why: &str) {
        if self.gates[stream].failed(why, Instant::now()) {
            tracing::warn!(
                stream = self.parts.streams[stream].name,
                why,
                "cannot send; trying again, no attempt is counted"
            );
        }
        self.window.close_stream(stream);
        self.report();
    }

    fn retry_in_its_stream(&mut self, seq: i64, why: Retry) {
        if let Some((_, feed)) = self.window.message(seq) {
            self.retry(seq, self.stream_of(feed), why);
        }
    }

    fn gate_succeeded(&mut self, stream: usize) {
        if self.gates[stream].succeeded() {
            tracing::info!(stream = self.parts.streams[stream].name, "sending again");
            self.report();
        }
    }

    pub(super) fn stream_of(&self, feed: usize) -> usize {
        self.parts.topics.feeds()[feed].stream
    }

    pub(super) fn owned_of(&self, shard: u16) -> Option<Owned> {
        self.owned.iter().chain(&self.leaving).find(|o| o.shard == shard).copied()
    }
}
