//! How a private server is started and how it ends: alone in its directory, and never later than the process that started it.
//!
//! Three things make that hold without unsafe code. The lock on its log lasts as long as the server or a child of it does. The
//! server waits behind a gate until its watchdog is armed. The watchdog is a shell that reads from a pipe of ours: when the
//! pipe closes, however we died, it ends the server.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::log::Log;

/// How long a starting server may take to answer: crash recovery of a full store included.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long a fast stop may take before the server is killed; the watchdog counts the same in its script.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long dropping a server may block its thread.
const DROP_MAX: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// The server starts only when told that its watchdog is armed; if we die before, `read` fails and nothing has started.
const GATE: &str = r#"read -r go && exec "$0" "$@" </dev/null"#;

/// The end of the pipe means that we are gone: nothing is ever written to it.
const WATCHDOG: &str = r#"
read -r end
kill -s "$2" "$1" && kill -s CONT "$1"
i=0; while [ "$i" -lt 50 ] && kill -s 0 "$1"; do sleep 0.1; i=$((i + 1)); done
kill -s KILL "$1"
"#;

/// Why a private server does not run. Every text names what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No executable; installing one helps.
    #[error("no {name} found: run `make setup`, or {remedy}")]
    Missing {
        /// What was looked for.
        name: &'static str,
        /// The other way to get it.
        remedy: &'static str,
    },
    /// An executable that cannot be used; installing a newer one helps.
    #[error("{} is {found}, {needed} or newer is needed: run `make setup`", path.display())]
    TooOld {
        /// The executable.
        path: PathBuf,
        /// What it says of itself.
        found: String,
        /// The oldest version that works.
        needed: &'static str,
    },
    /// Another server holds the directory; ending it, or another directory, helps.
    #[error("{} is in use by another {name}: stop it, or choose another directory", dir.display())]
    InUse {
        /// What runs there.
        name: &'static str,
        /// The directory.
        dir: PathBuf,
    },
    /// Something listens on the port; another port helps.
    #[error("port {port} for {name} is taken: stop what listens there, or choose another port")]
    PortTaken {
        /// What was to listen.
        name: &'static str,
        /// On 127.0.0.1.
        port: u16,
    },
    /// The server ended before it answered; its log says why.
    #[error("{name} ended while starting, its log {} says: {detail}", log.display())]
    Ended {
        /// What ended.
        name: &'static str,
        /// The whole log.
        log: PathBuf,
        /// The log's end.
        detail: String,
    },
    /// The server runs but does not answer.
    #[error("{name} gave no answer within {} s ({detail}): see its log {}", READY_MAX.as_secs(), log.display())]
    NotReady {
        /// What did not answer.
        name: &'static str,
        /// The whole log.
        log: PathBuf,
        /// Why the last probe failed.
        detail: String,
    },
    /// The system refused something.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried, with its object.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::System { doing, source }
    }
}

/// What to start. Built by the modules of the servers.
#[derive(Debug)]
pub struct Launch {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its working directory.
    pub dir: PathBuf,
    /// User and group ids to drop to, when running as root.
    pub account: Option<(u32, u32)>,
    /// Ends it fast, but with its data in order.
    pub stop: Signal,
    /// Ends it at once, when it is dropped.
    pub abort: Signal,
}

/// A running server, its watchdog, and where it logs.
#[derive(Debug)]
pub struct Process {
    child: Child,
    watchdog: Child,
    log: Log,
    stop: Signal,
    abort: Signal,
    /// From then on the id may belong to anyone.
    reaped: bool,
}

impl Process {
    /// Starts the watchdog, then the server, which takes over the lock on the log.
    pub fn spawn(launch: Launch, log: Log) -> Result<Process, Error> {
        let doing = format!("start {}", launch.program.display());
        let mut gate = Command::new("/bin/sh");
        gate.arg("-c").arg(GATE).arg(&launch.program).args(&launch.args).current_dir(&launch.dir);
        // A group of its own keeps the terminal's Ctrl-C away; the log is read for reasons, so it has to be in English.
        gate.process_group(0).env("LC_ALL", "C");
        gate.stdin(Stdio::piped()).stdout(log.output()?).stderr(log.output()?);
        drop_to(&mut gate, launch.account);
        let mut child = gate.spawn().map_err(Error::system(&doing))?;
        // From here on a failure closes the gate's pipe, which ends the gate.
        let watchdog = watch(child.id(), launch.stop).map_err(Error::system(&doing))?;
        let gate = child.stdin.take();
        let Launch { stop, abort, .. } = launch;
        let process = Process { child, watchdog, log, stop, abort, reaped: false };
        if let Some(mut gate) = gate {
            gate.write_all(b"go\n").map_err(Error::system(&doing))?;
        }
        Ok(process)
    }

    /// The server's process id. It stays ours, even after the server's death, until the server is reaped by `stop` or `kill`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the server logs.
    pub fn log(&self) -> &Path {
        self.log.path()
    }

    /// Whether the server has ended, by itself or by a signal of someone else.
    pub fn has_ended(&self) -> bool {
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.id()), peek), Ok(WaitStatus::StillAlive))
    }

    /// Sends a signal; a server that is already gone is no error.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        match signal::kill(self.id(), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => {
                Err(Error::System { doing: format!("send {signal} to {}", self.log.name()), source: errno.into() })
            }
        }
    }

    /// Waits until the probe succeeds, the server ends, or the time is over.
    pub async fn ready(&self, port: u16, probe: impl AsyncFn() -> Result<(), String>) -> Result<(), Error> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            let answer = probe().await;
            if self.has_ended() {
                return Err(self.ended(port));
            }
            match answer {
                Ok(()) => return Ok(()),
                Err(detail) if Instant::now() >= deadline => {
                    return Err(Error::NotReady { name: self.log.name(), log: self.log.path().to_path_buf(), detail });
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Ends the server fast but in order; kills it when that takes too long.
    pub async fn stop(mut self) -> Result<ExitStatus, Error> {
        self.signal(self.stop)?;
        self.signal(Signal::SIGCONT)?;
        let deadline = Instant::now() + STOP_MAX;
        while !self.has_ended() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        self.reap()
    }

    /// Ends the server as a crash would, its children included, and waits for it.
    /// One that has ended already keeps the status it ended with.
    pub fn kill(mut self) -> Result<ExitStatus, Error> {
        self.reap()
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn ended(&self, port: u16) -> Error {
        if self.log.says("address already in use") {
            return Error::PortTaken { name: self.log.name(), port };
        }
        self.log.ended()
    }

    /// The watchdog is dismissed before the server is reaped: until then the id cannot belong to anyone else. Children that
    /// outlive their server (a Postgres backend in a long computation does not notice its end) are killed with it.
    fn reap(&mut self) -> Result<ExitStatus, Error> {
        let family = self.log.writers();
        self.signal(Signal::SIGKILL)?;
        for pid in family {
            match signal::kill(pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(Error::system(format!("end {pid}, a child of {}", self.log.name()))(errno.into()));
                }
            }
        }
        self.watchdog.kill().map_err(Error::system("dismiss the watchdog"))?;
        self.watchdog.wait().map_err(Error::system("dismiss the watchdog"))?;
        let doing = format!("wait for {}", self.log.name());
        let status = self.child.wait().map_err(Error::system(doing))?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Process {
    /// Without time to be polite: what a server does not finish at once, its recovery does at the next start.
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        if self.signal(self.abort).is_err() || self.signal(Signal::SIGCONT).is_err() {
            tracing::warn!(server = self.log.name(), "cannot signal a private server; its watchdog ends it");
        }
        let deadline = Instant::now() + DROP_MAX;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        if let Err(error) = self.reap() {
            tracing::warn!(server = self.log.name(), %error, "cannot end a private server; its watchdog ends it");
        }
    }
}

/// A port on 127.0.0.1 that was free a moment ago.
pub fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(Error::system("find a free port on 127.0.0.1"))?.port())
}

/// Makes the command run as another user and group.
pub fn drop_to(command: &mut Command, account: Option<(u32, u32)>) {
    if let Some((uid, gid)) = account {
        command.uid(uid).gid(gid);
    }
}

/// The first executable of that name on PATH, links resolved.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find_map(|dir| fs::canonicalize(dir.join(name)).ok().filter(|file| file.is_file()))
}

fn watch(pid: u32, stop: Signal) -> io::Result<Child> {
    let signal = stop.as_str().trim_start_matches("SIG");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", WATCHDOG, "avouch-watchdog", &pid.to_string(), signal]);
    shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
