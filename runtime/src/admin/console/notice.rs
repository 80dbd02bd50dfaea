//! What the reader did just now, as the next page tells it. It travels in the address as a word and two numbers: no address can make
//! the console say anything else.

use maud::{Markup, html};

use super::figures::number;
use super::visit::told;
use super::words::Words;

/// Something that was done, how often, and to how many it was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub deed: Deed,
    /// To so many it was done.
    pub done: u64,
    /// Of so many.
    pub of: u64,
}

macro_rules! deeds {
    ($($(#[$doc:meta])* $deed:ident = $name:literal: $($done:ident).+, $($rest:ident).+;)+) => {
        /// What people do here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Deed { $($(#[$doc])* $deed,)+ }

        impl Deed {
            /// All of them.
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$deed,)+];

            const fn name(self) -> &'static str {
                match self { $(Self::$deed => $name,)+ }
            }

            fn of(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$deed),)+ _ => None }
            }

            /// What it is called when it is done, and why it was not done to the others.
            const fn words(self, w: &Words) -> (&'static str, &'static str) {
                match self { $(Self::$deed => (w.$($done).+, w.$($rest).+),)+ }
            }
        }
    };
}

deeds! {
    /// Dead messages are sent again.
    Resend = "resent": done_resend, rest_resend;
    /// Messages are given up.
    Discard = "discarded": done_discard, rest_discard;
    /// Messages go to a consumer once more.
    Replay = "replayed": done_replay, rest_replay;
    /// Transactions are committed.
    Commit = "committed": done_commit, rest_settle;
    /// Transactions are rolled back.
    RollBack = "rolled-back": done_rollback, rest_settle;
    /// Checkers are asked again.
    Recheck = "rechecked": done_recheck, rest_recheck;
    /// Something is paused.
    Pause = "paused": done_pause, rest_none;
    /// It goes on.
    Resume = "resumed": done_resume, rest_resume;
    /// A record is decided.
    Record = "record-decided": done_record, rest_record;
    /// A consumer is not waited for any more.
    RemoveConsumer = "consumer-removed": done_remove_consumer, rest_remove_consumer;
    /// A plugin's version answers.
    Deploy = "deployed": done_deploy, rest_none;
    /// An earlier one does.
    Restore = "restored": done_restore, rest_restore;
    /// None does.
    RemovePlugin = "plugin-removed": done_remove_plugin, rest_remove_plugin;
    /// An endpoint is told something that means nothing.
    Ping = "pinged": endpoint.done_ping, endpoint.rest_ping;
    /// An endpoint is told again.
    Enable = "enabled": endpoint.done_enable, endpoint.rest_enable;
    /// It is told nothing.
    Disable = "disabled": endpoint.done_disable, endpoint.rest_disable;
    /// Messages are told once more.
    NotifyAgain = "notified-again": endpoint.done_again, endpoint.rest_again;
    /// An endpoint is told nothing any more.
    RemoveEndpoint = "endpoint-removed": endpoint.done_remove, endpoint.rest_remove;
}

impl Notice {
    /// One thing, which was done or not.
    pub fn one(deed: Deed, is_done: Done) -> Self {
        Self { deed, done: u64::from(is_done == Done::Yes), of: 1 }
    }

    /// As it stands in an address: `resent-3-5`.
    pub fn word(self) -> String {
        format!("{}-{}-{}", self.deed.name(), self.done, self.of)
    }

    /// What stands in an address, if it is one.
    pub fn read(word: &str) -> Option<Self> {
        let mut parts = word.rsplitn(3, '-');
        let (of, done) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Deed::of(parts.next()?).filter(|_| done <= of).map(|deed| Self { deed, done, of })
    }

    /// For people: `3 of 5: sent again. The other 2: not dead any more.`
    pub fn shown(self, w: &Words) -> Markup {
        let (done, rest) = self.deed.words(w);
        let left = self.of - self.done;
        let is_good = left == 0;
        html! {
            p.notice.good[is_good].warn[!is_good] role="status" {
                @if self.of == 1 {
                    (if is_good { done } else { rest })
                } @else {
                    (told(w.so_many_of, &[html! { (counted(self.done)) }, html! { (counted(self.of)) }])) " " (done)
                    @if !is_good { " " (told(w.the_other, &[html! { (counted(left)) }])) " " (rest) }
                }
            }
        }
    }
}

/// Whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was.
    Yes,
    /// It could not be.
    No,
}

impl From<bool> for Done {
    fn from(is_done: bool) -> Self {
        if is_done { Self::Yes } else { Self::No }
    }
}

fn counted(n: u64) -> String {
    number(i64::try_from(n).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::words::ENGLISH;
    use super::*;

    #[test]
    fn what_was_done_travels_in_an_address() {
        for deed in Deed::ALL {
            let notice = Notice { deed: *deed, done: 3, of: 5 };
            assert_eq!(Notice::read(&notice.word()), Some(notice));
        }
        for other in ["", "resent", "resent-3", "resent-6-5", "resent--1-5", "<b>-1-1", "resent-x-5"] {
            assert_eq!(Notice::read(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_not_done_is_told_with_the_reason() {
        let shown = |done, of| Notice { deed: Deed::Resend, done, of }.shown(&ENGLISH).into_string();
        assert!(shown(3, 5).contains("3 of 5") && shown(3, 5).contains("The other 2") && shown(3, 5).contains("dead"));
        assert!(shown(5, 5).contains("good") && !shown(5, 5).contains("other"));
        assert!(shown(0, 1).contains("not dead any more"));
    }
}
