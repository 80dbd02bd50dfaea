//! A disk of a server's own that can be full: a tmpfs, whose size shrinks to what is in use.
//!
//! Shrinking it is a balloon file without the memory that such a file would take.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;

/// Grows only as it is used.
const SIZE_BYTES: u64 = 6 << 30;
/// What is left when it is full.
const LEFT_BYTES: u64 = 16 << 10;
/// A server that writes all the time may be faster several times.
const FILL_TRIES_MAX: u32 = 50;

/// Gives this process mounts of its own, which end with it however it ends. Before any thread is started.
pub fn own_mounts() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot have mounts of our own")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("cannot keep our mounts to ourselves")
}

/// Unmounted and removed when dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// A new one, in the system's directory for temporary files: the account of a server must get there.
    pub fn mount(name: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("avouch-chaos-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let options = format!("size={SIZE_BYTES},mode=755");
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .with_context(|| format!("cannot mount a tmpfs at {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Nothing more fits, but for a few pages. What is written in between makes it be tried again.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut filled = Ok(());
        for _ in 0..FILL_TRIES_MAX {
            let space = statvfs(&self.path).context("a disk tells how full it is")?;
            let used = (space.blocks() - space.blocks_free()) * space.fragment_size();
            filled = self.resize(used + LEFT_BYTES);
            if filled.is_ok() {
                break;
            }
        }
        filled
    }

    /// There is room again.
    pub fn free(&self) -> anyhow::Result<()> {
        self.resize(SIZE_BYTES)
    }

    fn resize(&self, bytes: u64) -> anyhow::Result<()> {
        let options = format!("size={bytes}");
        let none = None::<&str>;
        mount(none, &self.path, none, MsFlags::MS_REMOUNT, Some(options.as_str()))
            .with_context(|| format!("cannot resize {} to {bytes} bytes", self.path.display()))
    }
}

impl Drop for Disk {
    /// Best effort: the mount ends with this process.
    fn drop(&mut self) {
        if umount2(&self.path, MntFlags::MNT_DETACH).is_ok() {
            drop(fs::remove_dir(&self.path));
        }
    }
}
