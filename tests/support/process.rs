//! The `avouch` binary as a process: started with a config, watched through its log, frozen, killed, stopped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use avouch_runtime::dev::log::Log;
use avouch_runtime::dev::process::{Error, Launch, Process};
use nix::sys::signal::Signal;

use crate::scratch;
use crate::wait::until;

/// A running `avouch`. Killed when dropped, and when the test process ends.
#[derive(Debug)]
pub struct Avouch {
    process: Option<Process>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    log: PathBuf,
    dir: PathBuf,
    janitor: Option<Child>,
}

impl Avouch {
    /// Starts `avouch run --config <a file with this text>`.
    pub async fn run(config: &str) -> Avouch {
        Avouch::run_with(config, &[]).await
    }

    /// The same with these environment variables.
    pub async fn run_with(config: &str, variables: &[(String, String)]) -> Avouch {
        let dir = scratch::dir("avouch");
        let file = dir.join("avouch.toml");
        std::fs::write(&file, config).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        let args = ["run", "--config", file.to_str().expect("the target directory has a UTF-8 name")];
        Avouch::start_in(dir, args.map(str::to_owned).to_vec(), variables.to_vec()).await
    }

    /// Starts `avouch` with these arguments.
    pub async fn start(args: &[&str]) -> Avouch {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Avouch::start_in(scratch::dir("avouch"), args, Vec::new()).await
    }

    async fn start_in(dir: PathBuf, args: Vec<String>, variables: Vec<(String, String)>) -> Avouch {
        let mut avouch = Avouch { process: None, args, variables, log: dir.join("avouch.log"), dir, janitor: None };
        avouch.start_again().await;
        avouch.janitor = Some(scratch::remove_at_end(avouch.pid(), &[&avouch.dir]));
        avouch
    }

    /// Starts it anew with the same arguments and config, after `kill` or `terminate`; its log goes on.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "avouch is started while it runs: kill or terminate it before");
        let launch = Launch {
            // The tests' own variables are no settings of the runtime.
            program: "/usr/bin/env".into(),
            args: env_args(&self.args, &self.variables),
            dir: self.dir.clone(),
            account: None,
            stop: Signal::SIGTERM,
            abort: Signal::SIGKILL,
        };
        let log = expect(Log::claim("avouch", self.log.clone()).await);
        self.process = Some(expect(Process::spawn(launch, log)));
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// SIGSTOP: it lives, its connections too, but it does nothing.
    pub fn pause(&self) {
        expect(self.process().signal(Signal::SIGSTOP));
    }

    /// SIGCONT.
    pub fn resume(&self) {
        expect(self.process().signal(Signal::SIGCONT));
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        let process = self.process.take();
        expect(process.expect("the test kills an avouch that runs").kill())
    }

    /// Sends a signal and does not wait.
    pub fn signal(&self, signal: Signal) {
        expect(self.process().signal(signal));
    }

    /// SIGTERM, and waits for its end; panics with the log if it takes longer.
    pub async fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(limit).await
    }

    /// Waits until it has ended by itself.
    pub async fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        let process = self.process();
        until("avouch ends", limit, async || process.has_ended().then_some(())).await;
        self.kill()
    }

    /// Whether it has ended, by itself or by a signal.
    pub fn has_ended(&self) -> bool {
        self.process.as_ref().is_none_or(Process::has_ended)
    }

    /// Waits for a line of the log that contains the text, and returns it. Lines from before a restart count.
    pub async fn wait_for_log(&self, text: &str, limit: Duration) -> String {
        let what = format!("a line with {text:?} in {}", self.log.display());
        until(&what, limit, async || self.log().lines().find(|line| line.contains(text)).map(str::to_owned)).await
    }

    /// All that it wrote so far to its output and its error output.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_else(|error| panic!("{}: {error}", self.log.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the test does not use an avouch that it has ended")
    }
}

impl Drop for Avouch {
    /// A failing test shows what avouch said.
    fn drop(&mut self) {
        drop(self.process.take());
        if std::thread::panicking() {
            eprintln!("--- the log of avouch\n{}---", self.log());
        }
        drop(self.janitor.take());
    }
}

/// The binary beside this test: `cargo test` of one package does not build that of another.
pub fn binary() -> PathBuf {
    let binary: &Path = &scratch::profile_dir().join("avouch");
    let flag = if cfg!(debug_assertions) { "" } else { " --release" };
    assert!(binary.is_file(), "no {}: run `cargo build -p avouch-runtime{flag}`", binary.display());
    binary.to_path_buf()
}

fn env_args(args: &[String], variables: &[(String, String)]) -> Vec<OsString> {
    let own = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("AVOUCH_"));
    let unset = own.flat_map(|name| [OsString::from("-u"), name]);
    let set = variables.iter().map(|(name, value)| OsString::from(format!("{name}={value}")));
    unset.chain(set).chain([binary().into_os_string()]).chain(args.iter().map(Into::into)).collect()
}

fn expect<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
