//! Where Chromium is, and how it is started: headless, with nothing but loopback to reach, and never outliving this process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::OnceLock;
use std::thread;

use avouch_runtime::dev::log::Log;
use avouch_runtime::dev::process::{Launch, Process};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use super::cdp::{Cdp, text};
use crate::scratch;
use crate::wait::{POLL, secs};

/// Debian's executables themselves: the wrappers in `/usr/bin` would stand between us and the process that we end. The headless
/// shell is a third of the whole browser, and needs no display's libraries.
const CHROMIUMS: [&str; 2] = ["/usr/lib/chromium/chromium-headless-shell", "/usr/lib/chromium/chromium"];
const COMMANDS: &str = "commands";
const ANSWERS: &str = "answers";
/// Chromium reads commands from descriptor 3 and answers on 4. Answers are opened first: when there is somebody to give commands to,
/// there is somebody who will answer.
const PIPED: &str = r#"exec "$0" "$@" 4>"$PWD/answers" 3<"$PWD/commands""#;

const FLAGS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    // Its sandbox refuses root, and needs of an unprivileged user what containers often withhold. It shows nothing but our own pages.
    "--no-sandbox",
    // A container's shared memory is small.
    "--disable-dev-shm-usage",
    // No page reaches another machine, whatever it tries.
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    // Many pages are open at once, and none is in front.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    // Pictures are the same on every machine.
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--disable-gpu",
    "--mute-audio",
];

/// The browser of this process.
#[derive(Debug)]
pub struct Chromium {
    /// Lives as long as the process.
    pub runtime: Runtime,
    /// What it is told through.
    pub cdp: Cdp,
    /// What it calls itself to servers.
    pub user_agent: String,
    process: Process,
    _janitor: Child,
}

impl Chromium {
    /// Of its main process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The browser that all tests of this process share, started by whoever asks first. Panics with the remedy if it cannot be started.
pub fn shared() -> &'static Chromium {
    static SHARED: OnceLock<Result<Chromium, String>> = OnceLock::new();
    // A thread of its own, because the caller may be inside a runtime, where another one cannot be waited for.
    let shared = SHARED.get_or_init(|| {
        let started = thread::spawn(start).join();
        started.unwrap_or_else(|_| Err("the thread that starts Chromium panicked".to_owned()))
    });
    shared.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

fn start() -> Result<Chromium, String> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("chromium").enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot make a runtime: {error}"))?;
    let executable = executable()?;
    let dir = scratch::tmp("chromium");
    let (process, cdp) = runtime.block_on(launch(&executable, &dir))?;
    let version = runtime.block_on(cdp.call(None, "Browser.getVersion", json!({})));
    let log = process.log().display();
    let version = version.map_err(|why| format!("{why}: see the log of {} in {log}", executable.display()))?;
    let user_agent = text(&version["userAgent"]).to_owned();
    let janitor = scratch::remove_at_end(process.pid(), &[&dir]);
    Ok(Chromium { runtime, cdp, user_agent, process, _janitor: janitor })
}

fn executable() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("AVOUCH_CHROMIUM") {
        return Ok(named.into());
    }
    let found = CHROMIUMS.iter().map(PathBuf::from).find(|file| file.is_file());
    found.ok_or_else(|| "no Chromium found: run `.ci/setup test`, or set AVOUCH_CHROMIUM to its executable".to_owned())
}

async fn launch(executable: &Path, dir: &Path) -> Result<(Process, Cdp), String> {
    let (commands, answers) = (dir.join(COMMANDS), dir.join(ANSWERS));
    for pipe in [&commands, &answers] {
        let made = mkfifo(pipe, Mode::S_IRUSR | Mode::S_IWUSR);
        made.map_err(|error| format!("cannot make the pipe {}: {error}", pipe.display()))?;
    }
    let answers = pipe::OpenOptions::new().open_receiver(&answers);
    let answers = answers.map_err(|error| format!("cannot read what Chromium answers: {error}"))?;
    let log = Log::claim("chromium", dir.join("chromium.log")).await.map_err(|error| error.to_string())?;
    let launch = Launch {
        program: "/bin/sh".into(),
        args: arguments(executable, dir),
        dir: dir.to_path_buf(),
        account: None,
        stop: Signal::SIGTERM,
        abort: Signal::SIGKILL,
    };
    let process = Process::spawn(launch, log).map_err(|error| error.to_string())?;
    let commands = until_read(&process, &commands).await?;
    Ok((process, Cdp::over(answers, commands)))
}

/// The pipe cannot be opened before the other side reads from it.
async fn until_read(process: &Process, commands: &Path) -> Result<pipe::Sender, String> {
    let deadline = std::time::Instant::now() + secs(60);
    loop {
        match pipe::OpenOptions::new().open_sender(commands) {
            Ok(sender) => return Ok(sender),
            Err(_) if !process.has_ended() && std::time::Instant::now() < deadline => sleep(POLL).await,
            Err(error) => return Err(format!("Chromium does not start ({error}): see {}", process.log().display())),
        }
    }
}

fn arguments(executable: &Path, dir: &Path) -> Vec<OsString> {
    let mut profile = OsString::from("--user-data-dir=");
    profile.push(dir.join("profile"));
    let shell = ["-c".into(), PIPED.into(), executable.into()];
    shell.into_iter().chain(FLAGS.iter().map(Into::into)).chain([profile]).collect()
}
