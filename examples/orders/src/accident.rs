//! What goes wrong on purpose in the consumers, and when. In each life, a process dies once, and one of its workers oversleeps once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use nix::sys::signal::{Signal, raise};
use tokio::time::sleep;

/// Of the messages that a process begins, counted from its start.
const OVERSLEEPS_AT: u64 = 60;
const DIES_FROM: u64 = 150;
const NAK_EACH: u64 = 23;
const FORGET_EACH: u64 = 37;
/// Longer than an ack wait and a lease together: by then another worker has done it.
const SLEEP: Duration = Duration::from_millis(2000);

/// What happens to one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accident {
    /// All goes well.
    None,
    /// Just before the effect it stands still for longer than anybody waits.
    Oversleeps,
    /// The effect is there; the broker is told no, and delivers again.
    Naks,
    /// The effect is there; the broker is told nothing, and delivers again.
    Forgets,
    /// The effect is there; the process is killed before it can tell anybody.
    Dies,
}

/// What the workers of a process have before them.
#[derive(Debug, Default)]
pub struct Fate {
    begun: AtomicU64,
    /// Who sleeps is not killed, or else nobody would ever wake up too late.
    asleep: AtomicU64,
}

impl Fate {
    /// What happens to this delivery; what is delivered again has had its accident.
    pub fn of(&self, message: &Message) -> Accident {
        if message.info().is_ok_and(|info| info.delivered > 1) {
            return Accident::None;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        match number {
            OVERSLEEPS_AT => Accident::Oversleeps,
            DIES_FROM.. if self.asleep.load(Ordering::Relaxed) == 0 => Accident::Dies,
            _ if number.is_multiple_of(NAK_EACH) => Accident::Naks,
            _ if number.is_multiple_of(FORGET_EACH) => Accident::Forgets,
            _ => Accident::None,
        }
    }

    /// Before the effect.
    pub async fn before(&self, accident: Accident) {
        if accident == Accident::Oversleeps {
            self.asleep.fetch_add(1, Ordering::Relaxed);
            sleep(SLEEP).await;
            self.asleep.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Accident {
    /// After the effect: SIGKILL, which nobody can do anything about.
    pub fn after_effect(self) {
        if self == Self::Dies {
            raise(Signal::SIGKILL).expect("a process may signal itself");
        }
    }

    /// Says `kind` to the broker, unless something comes between. What did not reach it was forgotten.
    pub async fn settle(self, message: &Message, kind: AckKind) {
        let kind = match self {
            Self::Forgets => return,
            Self::Naks => AckKind::Nak(None),
            Self::None | Self::Oversleeps | Self::Dies => kind,
        };
        if let Err(e) = message.ack_with(kind).await {
            eprintln!("an acknowledgement did not reach the broker: {e}");
        }
    }
}
