//! Directories of this test process below the target directory, removed when it has ended, however it ended.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use uuid::Uuid;

/// The pipe ends with us, or with what keeps the janitor. The server gets the time that its watchdog gives it.
const JANITOR: &str = r#"
read -r end
i=0; while [ "$i" -lt 60 ] && kill -s 0 "$1"; do sleep 0.1; i=$((i + 1)); done
shift
rm -rf "$@" || { sleep 6; rm -rf "$@"; }
"#;

/// Where cargo put the running executable: `target/debug` or `target/release`.
pub fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the path of the running test is known");
    let dir = exe.parent().expect("an executable lies in a directory");
    let deps = dir.ends_with("deps").then(|| dir.parent()).flatten();
    deps.unwrap_or(dir).to_path_buf()
}

/// The target directory.
pub fn target_dir() -> PathBuf {
    let profile = profile_dir();
    profile.parent().expect("a profile lies in the target directory").to_path_buf()
}

/// A new, empty directory `target/servers/<name>-<id>`.
pub fn dir(name: &str) -> PathBuf {
    unique(&target_dir().join("servers"), name)
}

/// A new, empty directory `target/tmp/<name>-<id>`.
pub fn tmp(name: &str) -> PathBuf {
    unique(&target_dir().join("tmp"), name)
}

fn unique(parent: &Path, name: &str) -> PathBuf {
    let dir = parent.join(format!("{name}-{}", Uuid::now_v7().simple()));
    std::fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
    dir
}

/// Removes the directories once the returned child is dropped or this process has ended, and then the one with that id has.
pub fn remove_at_end(pid: u32, dirs: &[&Path]) -> Child {
    let mut janitor = Command::new("/bin/sh");
    janitor.args(["-c", JANITOR, "avouch-janitor", &pid.to_string()]).args(dirs);
    janitor.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    janitor.spawn().expect("a shell can be started")
}
