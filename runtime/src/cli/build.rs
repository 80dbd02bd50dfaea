//! `avouch plugin new` and `avouch plugin build`: from a name to a crate, from a crate to a .wasm file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's package of the compiler with the sources of its standard library.
const WEB_RUSTC: &str = "/usr/bin/rustc";
const WEB_PACKAGES: &str = "rustc-web rust-web-src";

const MANIFEST: &str = include_str!("build/plugin.toml");
const CARGO: &str = include_str!("build/Cargo.toml.in");
const SOURCE: &str = include_str!("build/lib.rs.in");

/// Writes a crate that builds and passes its test.
pub fn new(name: &str, dir: Option<PathBuf>, sdk: Option<PathBuf>) -> anyhow::Result<()> {
    let is_crate = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_crate {
        bail!("{name:?} is no name for a crate: small letters, digits and `-`, beginning with a letter");
    }
    let dir = dir.unwrap_or_else(|| PathBuf::from(name));
    if dir.exists() {
        bail!("{} is there already: give another place with --dir", dir.display());
    }
    let sdk = match sdk {
        Some(path) => format!("{{ path = {:?} }}", path.canonicalize().with_context(|| path.display().to_string())?),
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
    };
    std::fs::create_dir_all(dir.join("src"))?;
    std::fs::write(dir.join("Cargo.toml"), CARGO.replace("@NAME@", name).replace("@SDK@", &sdk))?;
    std::fs::write(dir.join("plugin.toml"), MANIFEST.replace("@NAME@", name))?;
    std::fs::write(dir.join("src/lib.rs"), SOURCE)?;
    std::fs::write(dir.join(".gitignore"), "/target\n")?;
    println!("{0} is made. Next:\n  cd {0}\n  cargo test\n  avouch plugin build", dir.display());
    Ok(())
}

/// Compiles crates to WebAssembly and prints where their files are.
pub fn build(dir: &Path, packages: &[String], profile: &str, target_dir: Option<&Path>) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(dir).args(["build", "--target", TARGET, "--profile", profile]);
    cargo.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    for package in packages {
        cargo.args(["-p", package]);
    }
    if let Some(target_dir) = target_dir {
        cargo.arg("--target-dir").arg(std::path::absolute(target_dir)?);
    }
    if !has_target(dir)? {
        use_the_systems_compiler(&mut cargo)?;
    }
    let output = cargo.output().context("cargo cannot be run: install Rust with rustup")?;
    if !output.status.success() {
        bail!("cargo build failed: {}", output.status);
    }
    let files: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().flat_map(wasm_files).collect();
    if files.is_empty() {
        bail!("the crate gives no .wasm file: add [lib] crate-type = [\"cdylib\", \"rlib\"] to its Cargo.toml");
    }
    for file in files {
        println!("{file}");
    }
    Ok(())
}

fn wasm_files(line: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Artifact {
        #[serde(default)]
        filenames: Vec<String>,
    }
    let artifact: Option<Artifact> = serde_json::from_str(line).ok();
    artifact.map(|a| a.filenames.into_iter().filter(|f| f.ends_with(".wasm")).collect()).unwrap_or_default()
}

/// True if the toolchain has the target's standard library, or rustup could fetch it.
fn has_target(dir: &Path) -> anyhow::Result<bool> {
    if target_library(dir)?.is_some_and(|lib| lib.is_dir()) {
        return Ok(true);
    }
    let added = Command::new("rustup").current_dir(dir).args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    Ok(added.is_ok_and(|status| status.success()))
}

fn target_library(dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    let asked = Command::new("rustc").current_dir(dir).args(["--print", "target-libdir", "--target", TARGET]).output();
    let output = asked.context("rustc cannot be run: install Rust with rustup")?;
    Ok(output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())))
}

/// Where rustup cannot fetch the target: Debian's compiler builds the standard library from its sources.
fn use_the_systems_compiler(cargo: &mut Command) -> anyhow::Result<()> {
    let has_sources = std::fs::read_dir("/usr/src")
        .is_ok_and(|mut dirs| dirs.any(|d| d.is_ok_and(|d| d.file_name().to_string_lossy().starts_with("rustc-"))));
    if !Path::new(WEB_RUSTC).exists() || !has_sources {
        bail!(
            "the target {TARGET} is not there: rustup target add {TARGET}; on Debian, apt-get install {WEB_PACKAGES} does too"
        );
    }
    let host = Command::new("rustc").args(["--print", "target-libdir"]).output().context("rustc cannot be run")?;
    let lld = PathBuf::from(String::from_utf8_lossy(&host.stdout).trim()).with_file_name("bin").join("rust-lld");
    cargo
        .env("RUSTC", WEB_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", lld)
        .arg("-Zbuild-std=std,panic_abort");
    Ok(())
}
