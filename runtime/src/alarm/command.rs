//! A sink that is a program of the operator's.

use std::ffi::OsString;
use std::process::Stdio;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;

use super::{Alarm, Error};

/// A program and its arguments.
pub struct Command {
    program: String,
    args: Vec<String>,
    env: Vec<(&'static str, OsString)>,
}

/// What it gets of this process's environment: the rest may hold secrets.
const KEPT: [&str; 2] = ["PATH", "HOME"];

impl Command {
    /// Reads the settings.
    pub fn new(words: &[String]) -> Result<Self, String> {
        let (program, args) = words.split_first().ok_or("command: name a program")?;
        let env = KEPT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect();
        Ok(Self { program: program.clone(), args: args.to_vec(), env })
    }

    /// Runs it once with the alarm in its variables and on its standard input. Dropped before the end, it is killed with all
    /// that it started.
    pub async fn run(&self, alarm: &Alarm, json: &[u8]) -> Result<(), Error> {
        let retry = |e: std::io::Error| Error::Retry(format!("the command {} cannot be run: {e}", self.program));
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("AVOUCH_ALARM_KIND", alarm.kind.name());
        command.env("AVOUCH_ALARM_SOURCE", &alarm.source);
        command.env("AVOUCH_ALARM_SUBJECT", &alarm.subject);
        command.env("AVOUCH_ALARM_ID", &alarm.id);
        command.env("AVOUCH_ALARM_COUNT", alarm.count.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(retry)?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
        if let Some(mut input) = child.stdin.take()
            && let Err(e) = input.write_all(json).await
        {
            tracing::debug!(error = %e, "the command of an alarm did not read it: it may know enough");
        }
        let status = child.wait().await.map_err(retry)?;
        // Its id may be another's now.
        group.0 = None;
        if status.success() {
            return Ok(());
        }
        Err(Error::Retry(format!("the command {} ended with {status}", self.program)))
    }
}

/// The program and all that it started.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0
            && let Err(e) = killpg(Pid::from_raw(id), Signal::SIGKILL)
            && e != Errno::ESRCH
        {
            tracing::debug!(error = %e, "the command of an alarm could not be killed");
        }
    }
}
