//! A private server's log, which is also the lock on its directory: its children share it, so it is free when the last one is gone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::unistd::Pid;
use tokio::time::sleep;

use super::process::Error;

/// How long the servers of a predecessor may take to leave the directory: more than the watchdog's own patience.
const CLAIM_MAX: Duration = Duration::from_secs(15);
/// A log larger than this is begun anew at the next start.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How much of the log's end is searched for a reason.
const TAIL_BYTES_MAX: u64 = 4096;
/// How much of it an error quotes: the reason is in the last lines.
const DETAIL_LINES_MAX: usize = 3;
const POLL: Duration = Duration::from_millis(20);

/// The log of one server, locked: whoever holds it is alone in its directory.
#[derive(Debug)]
pub struct Log {
    name: &'static str,
    path: PathBuf,
    file: File,
    /// Where the log of this start begins.
    start: u64,
}

impl Log {
    /// Opens and locks the log, waiting a bounded time for the servers of a predecessor to end.
    pub async fn claim(name: &'static str, path: PathBuf) -> Result<Log, Error> {
        let doing = format!("open the log {}", path.display());
        // The directory may belong to the account of the server: a link put there must not lead root elsewhere.
        let file = OpenOptions::new().create(true).append(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path);
        let file = file.map_err(Error::system(&doing))?;
        let path = fs::canonicalize(path).map_err(Error::system(&doing))?;
        let deadline = Instant::now() + CLAIM_MAX;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(POLL).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::InUse { name, dir: path.parent().unwrap_or(&path).to_path_buf() });
                }
                Err(TryLockError::Error(source)) => return Err(Error::System { doing, source }),
            }
        }
        let mut start = file.metadata().map_err(Error::system(&doing))?.len();
        if start > LOG_BYTES_MAX {
            file.set_len(0).map_err(Error::system(&doing))?;
            start = 0;
        }
        Ok(Log { name, path, file, start })
    }

    /// A handle for a child's output, which keeps the lock while the child has it open.
    pub fn output(&self) -> Result<Stdio, Error> {
        let copy = self.file.try_clone();
        Ok(copy.map_err(Error::system(format!("share the log {}", self.path.display())))?.into())
    }

    /// Why the server, or a tool that wrote here before it, ended.
    pub fn ended(&self) -> Error {
        Error::Ended { name: self.name, log: self.path.clone(), detail: self.detail() }
    }

    /// The name of the server in error texts.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The file, links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who has the log as its error output: a server and its children. Empty where there is no `/proc`.
    pub fn writers(&self) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let writing = processes
            .filter(|process| fs::read_link(process.path().join("fd/2")).is_ok_and(|output| output == self.path));
        writing.filter_map(|process| process.file_name().to_str()?.parse().ok()).map(Pid::from_raw).collect()
    }

    /// Whether this was written since the start, in any case.
    pub fn says(&self, text: &str) -> bool {
        self.tail().is_ok_and(|tail| tail.to_lowercase().contains(text))
    }

    /// The last lines that were written since the start, on one line.
    fn detail(&self) -> String {
        let tail = match self.tail() {
            Ok(tail) => tail,
            Err(error) => return format!("unreadable: {error}"),
        };
        let lines: Vec<&str> = tail.lines().filter(|line| !line.trim().is_empty()).collect();
        match lines.len() {
            0 => "nothing".to_owned(),
            count => lines[count.saturating_sub(DETAIL_LINES_MAX)..].join(" | "),
        }
    }

    fn tail(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.start.max(end.saturating_sub(TAIL_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
