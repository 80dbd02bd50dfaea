//! A private Postgres on loopback: made with `initdb` once, started, crashed and started again on the same data and port.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::log::Log;
use super::process::{self, Error, Launch, Process, drop_to, free_port};

const NAME: &str = "postgres server";
/// The oldest version whose SQL the schema may use.
const MAJOR_MIN: u32 = 14;
/// How often a free port may turn out to be taken before we give up.
const PORT_TRIES_MAX: u32 = 5;
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Where data goes that lies where an unprivileged user cannot reach, below /root for instance.
const FALLBACK_DIR: &str = "/var/lib/avouch";

/// Where and how to run the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Holds `data/` and `postgres.log`; made if missing.
    pub dir: PathBuf,
    /// On 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// Server settings by name, beyond the defaults of `initdb`.
    pub settings: Vec<(String, String)>,
}

/// A Postgres of our own. Dropping it ends the server; so does the death of this process, however it comes.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
    account: Option<(u32, u32)>,
    process: Option<Process>,
}

impl Postgres {
    /// Finds the executables, makes the data directory if there is none, and returns once the server accepts connections.
    pub async fn start(options: Options) -> Result<Postgres, Error> {
        let account = account()?;
        let bin = find_bin(account)?;
        let dir = prepare_dir(&options.dir, account)?;
        let port = options.port.map_or_else(free_port, Ok)?;
        let mut server = Postgres { bin, dir, port, settings: options.settings, account, process: None };
        for _ in 1..PORT_TRIES_MAX {
            match server.start_again().await {
                Err(Error::PortTaken { .. }) if options.port.is_none() => server.port = free_port()?,
                started => return started.map(|()| server),
            }
        }
        server.start_again().await.map(|()| server)
    }

    /// Starts it on the same data and port, after `stop`, `kill` or a crash; a running server is left alone.
    pub async fn start_again(&mut self) -> Result<(), Error> {
        if self.process.as_ref().is_some_and(|process| !process.has_ended()) {
            return Ok(());
        }
        self.kill()?;
        let log = Log::claim(NAME, self.dir.join("postgres.log")).await?;
        self.initdb(&log).await?;
        self.remove_stale_lock()?;
        let process = Process::spawn(self.launch(), log)?;
        process.ready(self.port, async || self.probe().await).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it fast, with a checkpoint: open connections are closed.
    pub async fn stop(&mut self) -> Result<(), Error> {
        if let Some(process) = self.process.take() {
            process.stop().await?;
        }
        Ok(())
    }

    /// Ends it as a crash would: the postmaster is killed, its children follow when they notice.
    pub fn kill(&mut self) -> Result<(), Error> {
        if let Some(process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// The connection string of a database of this server, for its superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// On 127.0.0.1, the same over all restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process id, while one was started and not ended by us.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Where the data and the log really are, which is not always where they were asked to be.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn launch(&self) -> Launch {
        let mut args: Vec<OsString> = vec!["-D".into(), self.data().into(), "-h".into(), "127.0.0.1".into()];
        args.extend(["-p".into(), self.port.to_string().into(), "-k".into(), OsString::new()]);
        for (name, value) in &self.settings {
            args.extend(["-c".into(), format!("{name}={value}").into()]);
        }
        Launch {
            program: self.bin.join("postgres"),
            args,
            dir: self.dir.clone(),
            account: self.account,
            stop: Signal::SIGINT,
            abort: Signal::SIGQUIT,
        }
    }

    /// Made beside its place and moved there when complete: an interrupted `initdb` leaves nothing that looks like data.
    async fn initdb(&self, log: &Log) -> Result<(), Error> {
        let data = self.data();
        if data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let new = self.dir.join("data.new");
        for locale in ["C.UTF-8", "C"] {
            if new.exists() {
                fs::remove_dir_all(&new).map_err(Error::system(format!("remove {}", new.display())))?;
            }
            let mut initdb = Command::new(self.bin.join("initdb"));
            initdb.arg("-D").arg(&new).args([
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--auth=trust",
                "--no-sync",
                "--no-instructions",
            ]);
            initdb.arg(format!("--locale={locale}")).current_dir(&self.dir).env("LC_ALL", "C");
            initdb.stdout(log.output()?).stderr(log.output()?);
            drop_to(&mut initdb, self.account);
            let status = tokio::process::Command::from(initdb).kill_on_drop(true).status().await;
            if status.map_err(Error::system("run initdb"))?.success() {
                return fs::rename(&new, &data).map_err(Error::system(format!("move the new {}", data.display())));
            }
        }
        Err(log.ended())
    }

    /// We hold the log, so no server of ours runs here: the lock file is a crash's, and its process id may be anyone's by now.
    fn remove_stale_lock(&self) -> Result<(), Error> {
        let lock = self.data().join("postmaster.pid");
        match fs::remove_file(&lock) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::System { doing: format!("remove {}", lock.display()), source: error })
            }
            _ => Ok(()),
        }
    }

    /// Succeeds if this server, not another one on its port, answers a query.
    async fn probe(&self) -> Result<(), String> {
        let url = self.url("postgres");
        let answer = timeout(CONNECT_MAX, async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            let query = async move { client.query_one("select current_setting('data_directory')", &[]).await };
            let (row, ended) = tokio::join!(query, connection);
            ended.and(row)
        });
        let row = answer.await.map_err(|_| "timeout".to_owned())?.map_err(|error| error.to_string())?;
        let found: String = row.try_get(0).map_err(|error| error.to_string())?;
        if Path::new(&found) == self.data() {
            Ok(())
        } else {
            Err(format!("port {} is the server of {found}", self.port))
        }
    }
}

/// Postgres refuses to run as root: there, another user runs it.
fn account() -> Result<Option<(u32, u32)>, Error> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        let user =
            User::from_name(name).map_err(|errno| Error::system(format!("look up user {name}"))(errno.into()))?;
        if let Some(user) = user {
            return Ok(Some((user.uid.as_raw(), user.gid.as_raw())));
        }
    }
    Err(Error::Missing { name: "user `postgres` to run the server as", remedy: "run this as another user than root" })
}

/// Makes the directory, gives it to the account, and moves below `FALLBACK_DIR` if the account cannot reach it.
fn prepare_dir(wanted: &Path, account: Option<(u32, u32)>) -> Result<PathBuf, Error> {
    let dir = std::path::absolute(wanted).map_err(Error::system(format!("find {}", wanted.display())))?;
    if give(&dir, account)? {
        return Ok(dir);
    }
    let fallback = Path::new(FALLBACK_DIR).join(format!("dev-{:016x}", fnv1a(dir.as_os_str().as_encoded_bytes())));
    if give(&fallback, account)? {
        return Ok(fallback);
    }
    let source = std::io::ErrorKind::PermissionDenied.into();
    Err(Error::System { doing: format!("reach {} as the user of the server", fallback.display()), source })
}

/// Whether the account owns the directory and can get there.
fn give(dir: &Path, account: Option<(u32, u32)>) -> Result<bool, Error> {
    let made = || Error::system(format!("make {}", dir.display()));
    fs::create_dir_all(dir).map_err(made())?;
    let mut reach = Command::new("/bin/sh");
    reach.args(["-c", r#"cd "$0" && test -w ."#]).arg(dir).stderr(std::process::Stdio::null());
    if let Some((uid, gid)) = account {
        chown(dir, uid, gid)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(made())?;
        drop_to(&mut reach, account);
    }
    Ok(reach.current_dir("/").status().map_err(made())?.success())
}

/// Data of a former run under another user is taken over whole.
fn chown(dir: &Path, uid: u32, gid: u32) -> Result<(), Error> {
    let failed = || Error::system(format!("give {} to user {uid}", dir.display()));
    let foreign = |path: &Path| fs::metadata(path).is_ok_and(|found| found.uid() != uid);
    if foreign(dir) || foreign(&dir.join("data")) {
        let status = Command::new("chown").args(["-hR", &format!("{uid}:{gid}")]).arg(dir).status().map_err(failed())?;
        if !status.success() {
            return Err(failed()(std::io::Error::other(status.to_string())));
        }
    }
    Ok(())
}

/// The first directory with `postgres` and `initdb` of a version that will do.
fn find_bin(account: Option<(u32, u32)>) -> Result<PathBuf, Error> {
    let mut too_old = None;
    for bin in candidates() {
        let postgres = bin.join("postgres");
        if !bin.join("initdb").is_file() {
            continue;
        }
        let Some(found) = version(&postgres, account) else {
            continue;
        };
        if major(&found).is_some_and(|major| major >= MAJOR_MIN) {
            return Ok(bin);
        }
        too_old.get_or_insert(Error::TooOld { path: postgres, found, needed: "14" });
    }
    let remedy = "put `initdb` and `postgres` 14 or newer on PATH";
    Err(too_old.unwrap_or(Error::Missing { name: NAME, remedy }))
}

fn candidates() -> Vec<PathBuf> {
    if let Some(bin) = std::env::var_os("AVOUCH_POSTGRES_BIN") {
        return vec![bin.into()];
    }
    let mut found = Vec::new();
    found.extend(process::on_path("postgres").and_then(|file| Some(file.parent()?.to_path_buf())));
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        found.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    let mut packaged: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((major(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    packaged.sort();
    found.extend(packaged.into_iter().rev().map(|(_, dir)| dir.join("bin")));
    found
}

/// What the executable says of itself; `None` if the account cannot run it.
fn version(postgres: &Path, account: Option<(u32, u32)>) -> Option<String> {
    let mut command = Command::new(postgres);
    command.arg("--version").current_dir("/");
    drop_to(&mut command, account);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first number in the text: 16 of `postgres (PostgreSQL) 16beta1`.
fn major(text: &str) -> Option<u32> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = text[start..].split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// A hash that no toolchain changes: the data must be found again.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_releases_betas_and_directories() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major("9.6"), Some(9));
    }
}
