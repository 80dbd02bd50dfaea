//! A message's way: insert, commit (visible later), read, publish, PubAck, mark. Is none lost, none invented, none overtaken?
//!
//! A read is one step here: what happens while one is under way is left to the play in `window/tests.rs`. Each row has a transaction
//! of its own, so that its seq stands for its transaction's id too.

mod broker;
mod relay;
#[cfg(test)]
mod tests;

use stateright::Property;

pub use self::broker::Broker;
pub use self::relay::Worker;
use crate::explore::{Play, Protocol};

/// A known wrong variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Two workers share the keys by SKIP LOCKED.
    SkipLocked,
    /// A read looks above its cursor only.
    CursorAlone,
    /// A duplicate PubAck counts as possession.
    DuplicateIsPossession,
    /// A mark names its row by seq alone.
    MarkBySeq,
    /// A PubAck names its message by seq and generation alone.
    PubAckBySeq,
    /// A row whose seq is in the window is taken for the one that is there.
    RowBySeq,
    /// What was visible before a failover is taken for seen after it.
    HorizonOutlivesFailover,
}

/// How often what may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// The runtime dies, and another one takes over.
    pub crashes: u8,
    /// A publish or a PubAck is lost.
    pub losses: u8,
    /// A publish is given up while it is still on its way.
    pub hastes: u8,
    /// The broker's dedup window is over.
    pub forgets: u8,
    /// The stream is purged.
    pub purges: u8,
    /// A transaction rolls back.
    pub aborts: u8,
    /// Postgres loses its latest commits, and its sequence goes back with them.
    pub failovers: u8,
}

/// The protocol, right or with a mistake.
#[derive(Clone, Debug)]
pub struct Message {
    /// The key of each row, in the order in which the rows of a key are inserted.
    pub keys: &'static [char],
    /// What may happen.
    pub faults: Faults,
    /// None: as it is.
    pub mistake: Option<Mistake>,
}

/// What is in the outbox of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Not inserted yet.
    Absent,
    /// Its transaction runs.
    Running,
    /// Rolled back.
    Aborted,
    /// Committed.
    Ready,
    /// Marked; whether the broker had shown that it held it.
    Sent {
        /// Known to the model alone.
        was_held: bool,
    },
    /// Committed, and lost by Postgres itself.
    Lost,
}

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Its place in the order.
    pub seq: u8,
    /// Its state.
    pub stage: Stage,
    /// How often it was deliberately sent again.
    pub generation: u8,
}

/// The world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// By their ids.
    pub rows: Vec<Row>,
    /// What `avouch.outbox_seq` gives next.
    pub next_seq: u8,
    /// How often Postgres failed over: sessions from before are gone.
    pub session: u8,
    /// Whose epoch it is.
    pub owner: usize,
    /// Runtimes.
    pub workers: [Worker; 2],
    /// JetStream, and what is on its way to and from it.
    pub broker: Broker,
    /// What may still happen.
    pub faults: Faults,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A producer inserts this row, after the earlier ones of its key.
    Insert(usize),
    /// It is visible from now on.
    Commit(usize),
    /// It never was.
    Abort(usize),
    /// read_ready.sql and `Window::admit`.
    Read(usize),
    /// look_back.sql and `Window::looked_back`: the safety poll.
    LookBack(usize),
    /// `Relay::send_one`.
    Publish(usize, u8),
    /// The broker stores it, or finds it a duplicate, and answers.
    Deliver(usize),
    /// It never arrives.
    LosePublish(usize),
    /// `Relay::take_replies`.
    Take(usize),
    /// The answer never arrives.
    LosePubAck(usize),
    /// `Relay::time_out`.
    Retry(usize, u8),
    /// `Stream::holds` and, if it does not, next_generation.sql.
    Look(usize, u8),
    /// mark_sent.sql.
    Mark(usize, u8),
    /// The runtime dies; the other one owns the shard.
    Crash,
    /// The oldest id leaves the dedup window.
    Forget,
    /// The stream is emptied.
    Purge,
    /// A standby takes over that lacks the latest commit, and all marks or none.
    FailOver {
        /// Marks do not wait for the disk.
        without_marks: bool,
    },
}

impl Message {
    pub(crate) fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn may_insert(&self, state: &State, id: usize) -> bool {
        let earlier = (0..id).filter(|other| self.keys[*other] == self.keys[id]);
        let is_over = |other: usize| !matches!(state.rows[other].stage, Stage::Absent | Stage::Running);
        state.rows[id].stage == Stage::Absent && earlier.into_iter().all(is_over)
    }

    fn fail_over(&self, state: &mut State, without_marks: bool) {
        let is_committed = |row: &Row| matches!(row.stage, Stage::Ready | Stage::Sent { .. });
        let newest = state.rows.iter().filter(|row| is_committed(row)).map(|row| row.seq).max();
        for row in &mut state.rows {
            match row.stage {
                Stage::Ready | Stage::Sent { .. } if Some(row.seq) == newest => row.stage = Stage::Lost,
                Stage::Running => row.stage = Stage::Aborted,
                Stage::Sent { .. } if without_marks => row.stage = Stage::Ready,
                Stage::Ready | Stage::Sent { .. } | Stage::Absent | Stage::Aborted | Stage::Lost => {}
            }
        }
        state.next_seq = state.rows.iter().filter(|row| is_committed(row)).map(|row| row.seq).max().unwrap_or(0) + 1;
        state.session += 1;
    }
}

impl Protocol for Message {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            rows: vec![Row { seq: 0, stage: Stage::Absent, generation: 0 }; self.keys.len()],
            next_seq: 1,
            session: 0,
            owner: 0,
            workers: [Worker::default(), Worker::default()],
            broker: Broker::default(),
            faults: self.faults,
        }
    }

    fn steps(&self, state: &State, actions: &mut Vec<Action>) {
        for id in 0..self.keys.len() {
            if self.may_insert(state, id) {
                actions.push(Action::Insert(id));
            }
            if state.rows[id].stage == Stage::Running {
                actions.push(Action::Commit(id));
            }
        }
        for worker in 0..2 {
            self.worker_steps(state, worker, actions);
        }
        actions.extend((0..state.broker.publishes.len()).map(Action::Deliver));
        actions.extend((0..state.broker.pubacks.len()).map(Action::Take));
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.faults;
        if left.crashes > 0 {
            actions.push(Action::Crash);
        }
        if left.losses > 0 {
            actions.extend((0..state.broker.publishes.len()).map(Action::LosePublish));
            actions.extend((0..state.broker.pubacks.len()).map(Action::LosePubAck));
        }
        if left.forgets > 0 && !state.broker.remembered.is_empty() {
            actions.push(Action::Forget);
        }
        if left.purges > 0 && state.broker.stream.iter().any(Option::is_some) {
            actions.push(Action::Purge);
        }
        if left.failovers > 0 {
            actions.extend([true, false].map(|without_marks| Action::FailOver { without_marks }));
        }
        if left.aborts > 0 {
            let running = (0..self.keys.len()).filter(|id| state.rows[*id].stage == Stage::Running);
            actions.extend(running.map(Action::Abort));
        }
        if left.hastes > 0 {
            self.hasty_retries(state, actions);
        }
    }

    fn next(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match *action {
            Action::Insert(id) => {
                next.rows[id] = Row { seq: state.next_seq, stage: Stage::Running, generation: 0 };
                next.next_seq += 1;
            }
            Action::Commit(id) => next.rows[id].stage = Stage::Ready,
            Action::Abort(id) => {
                next.faults.aborts -= 1;
                next.rows[id].stage = Stage::Aborted;
            }
            Action::Deliver(n) => next.broker.deliver(n),
            Action::LosePublish(n) => {
                next.faults.losses -= 1;
                next.broker.publishes.remove(n);
            }
            Action::LosePubAck(n) => {
                next.faults.losses -= 1;
                next.broker.pubacks.remove(n);
            }
            Action::Crash => {
                next.faults.crashes -= 1;
                next.workers[state.owner] = Worker::default();
                next.owner = 1 - state.owner;
            }
            Action::Forget => {
                next.faults.forgets -= 1;
                next.broker.remembered.remove(0);
            }
            Action::Purge => {
                next.faults.purges -= 1;
                next.broker.stream.fill(None);
            }
            Action::FailOver { without_marks } => {
                next.faults.failovers -= 1;
                self.fail_over(&mut next, without_marks);
            }
            Action::Read(worker) => self.read(&mut next, worker),
            Action::LookBack(worker) => self.look_back(&mut next, worker),
            Action::Publish(worker, seq) => self.publish(&mut next, worker, seq),
            Action::Take(n) => self.take(&mut next, n),
            Action::Retry(worker, seq) => self.retry(&mut next, worker, seq),
            Action::Look(worker, seq) => self.look(&mut next, worker, seq),
            Action::Mark(worker, seq) => self.mark(&mut next, worker, seq),
        }
        next
    }

    fn rules(&self) -> Vec<Property<Play<Self>>> {
        vec![
            Property::always("none is invented", |_, s: &State| {
                let was_committed =
                    |id: &usize| !matches!(s.rows[*id].stage, Stage::Absent | Stage::Running | Stage::Aborted);
                s.broker.arrived.iter().all(was_committed)
            }),
            Property::always("a row is marked only if the stream held it", |_, s: &State| {
                s.rows.iter().all(|row| row.stage != Stage::Sent { was_held: false })
            }),
            Property::always("first occurrences are in the order of their key", |play: &Play<Self>, s: &State| {
                let is_there = |id: &usize| matches!(s.rows[*id].stage, Stage::Ready | Stage::Sent { .. });
                let arrived: Vec<usize> = s.broker.arrived.iter().copied().filter(is_there).collect();
                arrived.iter().enumerate().all(|(n, id)| {
                    let earlier = (0..*id).filter(|other| play.keys[*other] == play.keys[*id] && is_there(other));
                    earlier.into_iter().all(|other| arrived[..n].contains(&other))
                })
            }),
            Property::sometimes("everything is sent", |_, s: &State| {
                s.rows.iter().all(|row| matches!(row.stage, Stage::Sent { .. }))
            }),
        ]
    }

    fn has_ended_well(&self, state: &State) -> bool {
        let has_ended = |row: &Row| matches!(row.stage, Stage::Sent { .. } | Stage::Aborted | Stage::Lost);
        state.rows.iter().all(has_ended)
    }
}
