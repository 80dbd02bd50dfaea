//! The WebAssembly engine: how it is set up, its clock, and how a plugin's file becomes native code.

use std::collections::hash_map::DefaultHasher;
use std::fs::{DirBuilder, File, Permissions};
use std::hash::{Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wasmtime::component::Component;
use wasmtime::{Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use super::Error;
use super::limits::{Config, TICK};

/// Guests keep little on the stack; the rest of the fiber's stack is the host's.
const WASM_STACK_BYTES: usize = 512 << 10;
const FIBER_STACK_BYTES: usize = 1 << 20;
/// Kept after a call, so that the next one faults no pages in.
const KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// What the child that compiles may use.
const COMPILE_BYTES_MAX: u64 = 4 << 30;
/// Native code is some ten times as large as its source.
const COMPILED_BYTES_MAX: u64 = 512 << 20;

/// The engine with its clock and its compiler.
pub struct Host {
    pub engine: Engine,
    clock: Arc<Clock>,
    compiler: PathBuf,
    cache: Option<PathBuf>,
    compile_timeout: Duration,
}

/// Ticks only while somebody computes.
struct Clock {
    running: AtomicUsize,
    thread: Thread,
}

/// While it lives, the clock ticks.
pub struct Ticking<'a>(&'a Clock);

impl Host {
    /// `compiler` is the `avouch` binary: compiling runs in a child of it.
    pub fn new(config: &Config, compiler: PathBuf) -> Result<Self, Error> {
        let engine = pooled(config).or_else(|pooling| {
            tracing::info!(error = %pooling, "no address space for a pool of plugin instances: each is made on demand");
            Engine::new(&settings()).map_err(|e| Error::Fatal(format!("the WebAssembly engine: {e:#}")))
        })?;
        let cache = match config.cache_dir.clone().or_else(default_cache) {
            None => None,
            Some(dir) => match private_dir(&dir) {
                Ok(()) => Some(dir),
                Err(why) => {
                    tracing::warn!(dir = %dir.display(), why, "compiled plugins are not kept: set rules.cache_dir");
                    None
                }
            },
        };
        let clock = Clock::start(engine.clone());
        let compile_timeout = Duration::from_millis(config.compile_timeout_ms);
        Ok(Self { engine, clock, compiler, cache, compile_timeout })
    }

    /// Lets the clock tick until the result is dropped.
    pub fn ticking(&self) -> Ticking<'_> {
        if self.clock.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.clock.thread.unpark();
        }
        Ticking(&self.clock)
    }

    /// Native code of a component, from the cache or from a child that compiles it. Minutes of work are the child's.
    pub async fn compile(&self, component: &[u8]) -> Result<Component, Error> {
        let file = self.cache.as_ref().map(|dir| dir.join(self.cache_name(component)));
        if let Some(file) = &file
            && let Some(compiled) = read_cached(file)
        {
            match self.load(&compiled) {
                Ok(component) => return Ok(component),
                Err(e) => {
                    tracing::warn!(error = %e, file = %file.display(), "a compiled plugin cannot be used: compiling it again")
                }
            }
        }
        let compiled = self.compile_in_child(component).await?;
        if let Some(file) = &file
            && let Err(e) = write_cached(file, &compiled)
        {
            tracing::warn!(error = %e, file = %file.display(), "a compiled plugin could not be kept");
        }
        // The same engine has just compiled it: what does not load now never will.
        self.load(&compiled).map_err(|why| Error::Refused(format!("the plugin needs more than a call may have: {why}")))
    }

    fn cache_name(&self, component: &[u8]) -> String {
        let mut hasher = DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        format!("{}-{:016x}.cwasm", hex(&Sha256::digest(component)), hasher.finish())
    }

    #[expect(
        unsafe_code,
        reason = "native code comes from our own compiler only: a child's pipe, or a directory of ours"
    )]
    fn load(&self, compiled: &[u8]) -> Result<Component, String> {
        // SAFETY: see the reason above; `private_dir` and the checksum guard the directory.
        unsafe { Component::deserialize(&self.engine, compiled) }.map_err(|e| format!("{e:#}"))
    }

    async fn compile_in_child(&self, component: &[u8]) -> Result<Vec<u8>, Error> {
        let retry = |what: &str, e: std::io::Error| Error::Retry(format!("{what} the plugin compiler: {e}"));
        let mut child = tokio::process::Command::new(&self.compiler)
            .arg(COMPILE_COMMAND)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| retry("starting", e))?;
        let (mut input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let work = async {
            let write = async {
                if let Some(mut pipe) = input.take() {
                    // A child that refuses the file early closes its end: its own words tell more.
                    pipe.write_all(component).await.ok();
                }
            };
            let read = async |pipe: Option<&mut (dyn tokio::io::AsyncRead + Send + Unpin)>, max: u64| {
                let mut bytes = Vec::new();
                match pipe {
                    Some(pipe) => pipe.take(max).read_to_end(&mut bytes).await.map(|_| bytes),
                    None => Ok(bytes),
                }
            };
            let (mut output, mut errors) = (output, errors);
            let ((), compiled, said) = tokio::join!(
                write,
                read(output.as_mut().map(|o| o as &mut (dyn tokio::io::AsyncRead + Send + Unpin)), COMPILED_BYTES_MAX),
                read(errors.as_mut().map(|e| e as &mut (dyn tokio::io::AsyncRead + Send + Unpin)), 4 << 10),
            );
            let status = child.wait().await.map_err(|e| retry("waiting for", e))?;
            Ok::<_, Error>((status, compiled.map_err(|e| retry("reading from", e))?, said.unwrap_or_default()))
        };
        let (status, compiled, said) = tokio::time::timeout(self.compile_timeout, work).await.map_err(|_| {
            let limit_ms = self.compile_timeout.as_millis();
            Error::Refused(format!("the plugin takes longer to compile than rules.compile_timeout_ms = {limit_ms}"))
        })??;
        if status.success() {
            return Ok(compiled);
        }
        let said = String::from_utf8_lossy(&said);
        Err(Error::Refused(format!(
            "the plugin does not compile: {}",
            said.trim().lines().next().unwrap_or("the compiler died")
        )))
    }
}

/// The hidden command that compiles.
pub const COMPILE_COMMAND: &str = "compile-plugin";

/// What the child does: a component from standard input, native code to standard output.
pub fn compile_stdin() -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_AS, COMPILE_BYTES_MAX, COMPILE_BYTES_MAX)?;
    let mut component = Vec::new();
    std::io::stdin().lock().read_to_end(&mut component)?;
    let engine = Engine::new(&settings())?;
    let component = match wasmparser::Parser::is_component(&component) {
        true => component,
        // What `cargo build --target wasm32-unknown-unknown` gives: a core module that carries its component type.
        false => wit_component::ComponentEncoder::default().validate(true).module(&component)?.encode()?,
    };
    let compiled = engine.precompile_component(&component)?;
    std::io::stdout().lock().write_all(&compiled)?;
    Ok(())
}

/// Everything that a plugin's code can tell apart is off, but what compilers emit.
fn settings() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .strategy(Strategy::Cranelift)
        .concurrency_support(false)
        .epoch_interruption(true)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES);
    config
}

fn pooled(config: &Config) -> Result<Engine, wasmtime::Error> {
    let slots = u32::try_from(config.calls_max.saturating_mul(if config.reuse_calls_max > 0 { 2 } else { 1 }))
        .unwrap_or(u32::MAX)
        .saturating_add(8);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(4))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(2))
        .total_stacks(slots)
        .max_memory_size(config.memory_bytes_max)
        .max_core_instance_size(1 << 20)
        .max_component_instance_size(1 << 20)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(KEEP_RESIDENT_BYTES);
    let mut settings = settings();
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&settings)
}

impl Clock {
    fn start(engine: Engine) -> Arc<Self> {
        let (tell, told) = std::sync::mpsc::channel::<Arc<Self>>();
        let thread = std::thread::Builder::new()
            .name("avouch-ticks".into())
            .spawn(move || {
                let Ok(clock) = told.recv() else { return };
                // Ends with the engine's last user but this thread.
                while Arc::strong_count(&clock) > 1 {
                    if clock.running.load(Ordering::Acquire) == 0 {
                        std::thread::park_timeout(Duration::from_secs(1));
                    } else {
                        std::thread::sleep(TICK);
                        engine.increment_epoch();
                    }
                }
            })
            .expect("the system has room for a thread");
        let clock = Arc::new(Self { running: AtomicUsize::new(0), thread: thread.thread().clone() });
        tell.send(Arc::clone(&clock)).expect("the thread waits for it");
        clock
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

fn default_cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("avouch"))
}

/// Makes the directory, or proves that nobody else can write to it: what lies there is run.
fn private_dir(dir: &Path) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(text)?;
    }
    let meta = std::fs::symlink_metadata(dir).map_err(text)?;
    if !meta.is_dir() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err("it must be a directory of this user with mode 0700".to_owned());
    }
    Ok(())
}

/// The file is a checksum of 32 bytes and the code; a torn write is no code.
fn read_cached(file: &Path) -> Option<Vec<u8>> {
    let meta = std::fs::symlink_metadata(file).ok()?;
    if !meta.is_file() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.len() > COMPILED_BYTES_MAX {
        return None;
    }
    let bytes = std::fs::read(file).ok()?;
    let (sum, code) = bytes.split_at_checked(32)?;
    (Sha256::digest(code).as_slice() == sum).then(|| code.to_vec())
}

fn write_cached(file: &Path, code: &[u8]) -> std::io::Result<()> {
    let part = file.with_extension(format!("part-{}", std::process::id()));
    let mut out = File::create(&part)?;
    out.set_permissions(Permissions::from_mode(0o600))?;
    out.write_all(&Sha256::digest(code))?;
    out.write_all(code)?;
    std::fs::rename(&part, file)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        write!(text, "{b:02x}").expect("a String takes everything");
        text
    })
}
