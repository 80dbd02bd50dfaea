//! A consumer that is a process of its own, as the demo sees it: started again whenever an accident has killed it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use avouch_example_stage::Child;
use nix::sys::signal::Signal;

/// How long what has ended already may take to be waited for.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A consumer's process.
pub struct Desk {
    name: &'static str,
    child: Child,
    /// How often it was killed.
    pub kills: u32,
}

impl Desk {
    /// Starts this executable's part of this name.
    pub async fn open(name: &'static str, dir: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let mut child = Child::service(name, dir, &[&[name], args].concat())?;
        child.start().await?;
        Ok(Self { name, child, kills: 0 })
    }

    /// Starts it again if it was killed. Another end is nothing that was planned.
    pub async fn look(&mut self) -> anyhow::Result<()> {
        if !self.child.has_ended() {
            return Ok(());
        }
        let error = self.child.check();
        let ended = self.child.wait(WAIT_MAX).await?;
        if ended.signal() != Some(Signal::SIGKILL as i32) {
            error?;
            bail!("{} ended with {ended}", self.name);
        }
        self.kills += 1;
        self.child.start().await
    }

    /// Ends it once it has finished what it has in hand.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.child.stop().await
    }
}
