//! The accident that a service of the story may have. Nothing that a user would write.

use nix::sys::signal::{Signal, raise};

/// Where the process ends, if it is to end.
#[derive(Clone, Copy, Debug)]
pub struct Accident<Step>(pub Option<Step>);

impl<Step: PartialEq> Accident<Step> {
    /// Ends the process as kill -9 would, if it is to end here.
    pub fn reached(&self, step: Step) {
        if self.0 == Some(step) {
            raise(Signal::SIGKILL).expect("a process may signal itself");
        }
    }
}
