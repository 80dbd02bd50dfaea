//! Transactions: do a business action and its messages agree, whoever decides, and when? `avouch.admit`, `commit`, `rollback`,
//! `report`, `settle`, `release`, as Postgres runs them: row locks, statements with snapshots of their own, READ COMMITTED and
//! REPEATABLE READ.
//!
//! One transaction with a message for each outcome, its producer, a checker that looks whether the business action is there, an
//! operator once it is in doubt. Where the business action is in another database its end and the producer's word are two things.

mod deciding;
#[cfg(test)]
mod tests;

use stateright::Property;

use crate::explore::{Play, Protocol};

/// A known wrong variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Settling is one statement: what it releases is what was visible before it waited.
    OneSnapshot,
    /// An insert locks its transaction for share instead of counting itself on it.
    ShareLock,
    /// `commit` does not look what the transaction is.
    NoFence,
    /// A checker's verdict does not look whether somebody has decided since.
    UnguardedVerdict,
}

/// Where the business action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Business {
    /// In this database: it commits with `avouch.commit`, or not at all.
    Here,
    /// In another one: it commits there, and then `avouch.report` says so.
    Elsewhere,
}

/// How the deciding transactions see the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement has a snapshot of its own.
    ReadCommitted,
    /// All have the first one's; a row that was changed since fails with 40001.
    RepeatableRead,
}

/// The protocol, right or with a mistake.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Where the business action is.
    pub business: Business,
    /// Of those who decide.
    pub isolation: Isolation,
    /// None: as it is.
    pub mistake: Option<Mistake>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tx {
    Prepared,
    Committed,
    RolledBack,
    InDoubt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Absent,
    Prepared,
    Ready,
    Cancelled,
}

/// The insert of a half message, a transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Insert {
    Begun,
    /// Counted, and not committed: holds the transaction's row.
    Open,
    Ended,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// `avouch.commit`, `avouch.rollback`, or `avouch.report`.
    Producer,
    /// `avouch.settle` with a plugin's verdict.
    Checker,
    /// `avouch.settle` by a person.
    Operator,
}

/// What is visible to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Snapshot {
    /// How often the transaction's row had been changed.
    changes: u8,
    /// Which messages were there.
    messages: u8,
}

/// How far a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Deciding {
    No,
    Begun {
        commits: bool,
        snapshot: Snapshot,
    },
    /// The transaction's row is moved and locked.
    Moved {
        to: Tx,
        snapshot: Snapshot,
    },
    /// Its messages are moved too; what was released and what was cancelled.
    Released {
        to: Tx,
        released: u8,
        cancelled: u8,
    },
    Over,
}

/// The world: what is committed, and what each open transaction will change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    tx: Tx,
    changes: u8,
    messages: [Message; 2],
    inserts: [Insert; 2],
    deciding: [Deciding; 3],
    /// The business action is there for all to see.
    happened: bool,
    /// Elsewhere: the producer knows that it will not happen.
    given_up: bool,
    /// The producer contradicted what was decided: a person decides.
    contradicted: bool,
    /// A person decided, knowing of the contradiction.
    overruled: bool,
    /// 40001s, and producers that died, left.
    retries: u8,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `avouch.admit`: counts the message on its transaction, or refuses it.
    Insert(usize),
    /// Its transaction commits.
    CommitInsert(usize),
    /// Elsewhere: the business action commits.
    Happen,
    /// Elsewhere: it never will.
    GiveUp,
    /// The deciding transaction begins: with this wish, or a checker's verdict.
    Begin(Who, bool),
    /// The transaction's row is locked and moved: `commit`'s update, `settle`'s `for update skip locked`, `report`'s `for update`.
    Move(Who),
    /// `avouch.release`.
    Release(Who),
    /// Commit.
    End(Who),
    /// The deciding transaction aborts, with its client or by itself.
    Abort(Who),
    /// park.sql: the checker's answers ran out.
    Park,
}

/// The message for a commit, and the one for a rollback.
const FOR: [Tx; 2] = [Tx::Committed, Tx::RolledBack];

impl State {
    fn snapshot(&self) -> Snapshot {
        let is_there = |n: &usize| self.messages[*n] != Message::Absent;
        Snapshot { changes: self.changes, messages: (0..2).filter(is_there).map(|n| 1 << n).sum() }
    }

    /// Somebody holds the transaction's row so that nobody else can move it.
    fn is_locked(&self) -> bool {
        let holds = |d: &Deciding| matches!(d, Deciding::Moved { .. } | Deciding::Released { .. });
        self.inserts.contains(&Insert::Open) || self.deciding.iter().any(holds)
    }

    fn is_settled(&self) -> bool {
        matches!(self.tx, Tx::Committed | Tx::RolledBack)
    }

    fn is_being_decided(&self) -> bool {
        !self.deciding.iter().all(|d| matches!(d, Deciding::No | Deciding::Over))
    }
}

const ALL: [Who; 3] = [Who::Producer, Who::Checker, Who::Operator];

impl Protocol for Transaction {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            tx: Tx::Prepared,
            changes: 0,
            messages: [Message::Absent; 2],
            inserts: [Insert::Begun; 2],
            deciding: [Deciding::No; 3],
            happened: false,
            given_up: false,
            contradicted: false,
            overruled: false,
            retries: 2,
        }
    }

    fn steps(&self, state: &State, actions: &mut Vec<Action>) {
        for n in 0..2 {
            let is_moved =
                state.deciding.iter().any(|d| matches!(d, Deciding::Moved { .. } | Deciding::Released { .. }));
            let may_count = !is_moved && (self.is(Mistake::ShareLock) || !state.is_locked());
            match state.inserts[n] {
                Insert::Begun if may_count => actions.push(Action::Insert(n)),
                Insert::Open => actions.push(Action::CommitInsert(n)),
                Insert::Begun | Insert::Ended => {}
            }
        }
        if self.business == Business::Elsewhere && !state.happened && !state.given_up {
            actions.extend([Action::Happen, Action::GiveUp]);
        }
        self.begins(state, actions);
        for who in ALL {
            match state.deciding[who as usize] {
                // The producer waits for the lock, `settle` does not.
                Deciding::Begun { .. } if who != Who::Producer || !state.is_locked() => actions.push(Action::Move(who)),
                Deciding::Moved { .. } => actions.push(Action::Release(who)),
                Deciding::Released { .. } => actions.push(Action::End(who)),
                Deciding::Begun { .. } | Deciding::No | Deciding::Over => {}
            }
        }
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        if state.retries > 0 {
            let is_open = |who: &Who| !matches!(state.deciding[*who as usize], Deciding::No | Deciding::Over);
            actions.extend(ALL.into_iter().filter(is_open).map(Action::Abort));
        }
    }

    fn next(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match *action {
            Action::Insert(n) if state.tx == Tx::Prepared => next.inserts[n] = Insert::Open,
            Action::Insert(n) => next.inserts[n] = Insert::Ended,
            Action::CommitInsert(n) => {
                next.inserts[n] = Insert::Ended;
                next.messages[n] = Message::Prepared;
                next.changes += u8::from(!self.is(Mistake::ShareLock));
            }
            Action::Happen => next.happened = true,
            Action::GiveUp => next.given_up = true,
            Action::Begin(who, commits) => {
                next.deciding[who as usize] = Deciding::Begun { commits, snapshot: state.snapshot() };
            }
            Action::Move(who) => {
                if let Deciding::Begun { commits, snapshot } = state.deciding[who as usize] {
                    self.moved(&mut next, who, commits, snapshot);
                }
            }
            Action::Release(who) => {
                if let Deciding::Moved { to, snapshot } = state.deciding[who as usize] {
                    self.released(&mut next, who, to, snapshot);
                }
            }
            Action::End(who) => {
                if let Deciding::Released { to, released, cancelled } = state.deciding[who as usize] {
                    self.ended(&mut next, who, (to, released, cancelled));
                }
            }
            Action::Abort(who) => {
                next.retries -= 1;
                next.deciding[who as usize] = Deciding::No;
            }
            Action::Park => {
                if !state.is_locked() {
                    next.tx = Tx::InDoubt;
                    next.changes += 1;
                }
            }
        }
        next
    }

    fn rules(&self) -> Vec<Property<Play<Self>>> {
        vec![
            Property::always("never both outcomes", |_, s: &State| s.messages != [Message::Ready; 2] || s.contradicted),
            Property::always("only what follows from the outcome is sent", |_, s: &State| {
                let is_wrong = |n: usize| s.messages[n] == Message::Ready && s.tx == FOR[1 - n];
                s.contradicted || !is_wrong(0) && !is_wrong(1)
            }),
            Property::always("no half message is left prepared by its settling", |_, s: &State| {
                !s.is_settled() || !s.messages.contains(&Message::Prepared)
            }),
            Property::always("here nothing happens without its transaction", |play: &Play<Self>, s: &State| {
                play.business == Business::Elsewhere || !s.happened || s.tx == Tx::Committed
            }),
            Property::always("here nothing is committed that has not happened", |play: &Play<Self>, s: &State| {
                play.business == Business::Elsewhere || s.happened || s.tx != Tx::Committed || s.overruled
            }),
            Property::always("elsewhere a contradiction is seen", |_, s: &State| {
                let was_told = s.deciding[Who::Producer as usize] == Deciding::Over;
                !was_told || !s.happened || s.tx != Tx::RolledBack || s.overruled
            }),
            Property::sometimes("committed: one message is sent, the other cancelled", |_, s: &State| {
                s.messages == [Message::Ready, Message::Cancelled]
            }),
            Property::sometimes("rolled back: the other way round", |_, s: &State| {
                s.messages == [Message::Cancelled, Message::Ready]
            }),
            Property::sometimes("it is in doubt", |_, s: &State| s.tx == Tx::InDoubt),
        ]
    }

    fn has_ended_well(&self, state: &State) -> bool {
        let agrees = state.happened == (state.tx == Tx::Committed);
        let inserted = state.inserts.iter().all(|i| *i == Insert::Ended);
        state.is_settled() && !state.is_being_decided() && inserted && (agrees || state.overruled)
    }
}
