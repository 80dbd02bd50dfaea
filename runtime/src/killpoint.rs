//! Where the runtime may be made to die as by `kill -9`, so that tests see what is left behind: in debug builds, and nowhere else.
//!
//! `AVOUCH_KILL_AT=marked:30` ends it when it has got there for the thirtieth time; a batch counts once for each of its messages.
//! A release build has no such places, and refuses the variable like any other that is no setting.

/// The variable's name after `AVOUCH_`, in lower case.
pub const VARIABLE: &str = "kill_at";

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)+) => {
        /// Places between two effects that a crash can separate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)+
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point),+];

            /// As the variable names it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// Shards are taken; nothing is read of them yet.
    Acquired = "acquired",
    /// Rows are in the window; none of them is sent.
    Claimed = "claimed",
    /// A checker's verdict is known, and not written.
    Decided = "decided",
    /// Transactions are settled by their checkers' verdicts.
    Committed = "committed",
    /// A message's bytes have left for the broker.
    BytesSent = "bytes-sent",
    /// A PubAck is here; its message is not marked.
    AckReceived = "ack-received",
    /// Messages are marked as sent; the window does not know.
    Marked = "marked",
    /// A message is dead that can never be sent; the window does not know.
    Buried = "buried",
    /// Acknowledgements of consumers are read, and not written.
    ReceiptSeen = "receipt-seen",
    /// Receipts are written; the broker's reports are not acknowledged.
    ReceiptRecorded = "receipt-recorded",
    /// Messages are dead for a consumer; the broker's reports are not acknowledged.
    GivenUp = "given-up",
    /// Messages are missed by a consumer; that is not written.
    ResendDecided = "resend-decided",
    /// It is written that they are to be sent again.
    ResendRecorded = "resend-recorded",
    /// One was sent again, and its PubAck is here; that is not written.
    ResendSent = "resend-sent",
    /// It is written that they were sent again.
    ResendMarked = "resend-marked",
    /// It is written who is told of messages; the broker does not know.
    NoticeRecorded = "notice-recorded",
    /// An endpoint was told; that is not written.
    NoticeTried = "notice-tried",
    /// It is written that endpoints were told.
    NoticeMarked = "notice-marked",
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Point;

    struct Armed {
        point: Point,
        nth: u64,
        reached: AtomicU64,
    }

    /// The only place outside the configuration that reads a variable of ours: no setting of a released runtime can be this.
    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let read = || {
            let text = std::env::var("AVOUCH_KILL_AT").ok()?;
            let armed = parse(&text);
            assert!(armed.is_some(), "AVOUCH_KILL_AT={text}: write a point and a number, like marked:30");
            armed
        };
        ARMED.get_or_init(read).as_ref()
    }

    fn parse(text: &str) -> Option<Armed> {
        let (name, nth) = text.split_once(':')?;
        let point = *Point::ALL.iter().find(|p| p.name() == name)?;
        let nth = nth.parse().ok().filter(|n| *n > 0)?;
        Some(Armed { point, nth, reached: AtomicU64::new(0) })
    }

    /// Counts, and says whether this is the time to die.
    pub fn is_due(point: Point, times: usize) -> bool {
        let Some(armed) = armed().filter(|armed| armed.point == point) else { return false };
        let times = u64::try_from(times).unwrap_or(u64::MAX);
        let before = armed.reached.fetch_add(times, Ordering::Relaxed);
        before < armed.nth && armed.nth - before <= times
    }

    /// No destructor runs, and nothing that is in memory is written.
    pub fn die(point: Point) -> ! {
        tracing::error!(point = point.name(), "killed here, as AVOUCH_KILL_AT asks");
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).expect("a process may end itself");
        unreachable!("nothing runs after SIGKILL")
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn point_and_number_are_read_and_nothing_else() {
            let armed = parse("bytes-sent:30").expect("is right");
            assert_eq!((armed.point, armed.nth), (Point::BytesSent, 30));
            for wrong in ["", "marked", "marked:", "marked:0", "marked:-1", "Marked:1", "nowhere:1"] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}

/// This place is reached.
#[inline]
pub fn reached(point: Point) {
    reached_by(point, 1);
}

/// So many messages have reached this place together.
#[inline]
pub fn reached_by(point: Point, messages: usize) {
    #[cfg(debug_assertions)]
    if armed::is_due(point, messages) {
        armed::die(point);
    }
    #[cfg(not(debug_assertions))]
    let (_, _) = (point, messages);
}

/// This place is reached; if it is the last, `last_act` is done before the end.
#[inline]
pub async fn reached_after<T>(point: Point, last_act: impl Future<Output = T>) {
    #[cfg(debug_assertions)]
    if armed::is_due(point, 1) {
        drop(last_act.await);
        armed::die(point);
    }
    #[cfg(not(debug_assertions))]
    drop((point, last_act));
}
