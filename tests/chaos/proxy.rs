//! A TCP proxy that understands what it carries: it cuts, holds up, slows, or loses what it is told to, and nothing else.

mod frames;
mod pump;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::schedule::{Lose, Side, Way};

/// What flows through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Postgres,
    Nats,
}

/// Set for one event to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// Cut the connection that brings the nth `COMMIT` that is done.
    Commit { nth: u64, side: Side },
    /// Cut the connection that brings the nth statement that is done.
    Statement { nth: u64, side: Side },
    /// Lose so many PubAcks from the nth on.
    PubAck { nth: u64, count: u64, lose: Lose },
}

/// Whether bytes pass, for each way and for listening connections apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Valves {
    all: Option<Way>,
    listeners: Option<Way>,
    delay_ms: u64,
    /// Raised to end every connection that there is.
    cuts: u64,
}

/// What the connections of one proxy share.
#[derive(Debug)]
struct Rules {
    protocol: Protocol,
    valves: watch::Sender<Valves>,
    traps: Mutex<VecDeque<Trap>>,
    /// How often a trap went off.
    sprung: AtomicU64,
}

impl Rules {
    fn traps(&self) -> MutexGuard<'_, VecDeque<Trap>> {
        self.traps.lock().expect("nobody panics with the traps")
    }

    fn spring(&self) {
        self.sprung.fetch_add(1, Ordering::Relaxed);
    }
}

/// One lane. Ends with its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    rules: Arc<Rules>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of this port on 127.0.0.1.
    pub async fn start(protocol: Protocol, server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (valves, _) = watch::channel(Valves::default());
        let rules = Rules { protocol, valves, traps: Mutex::default(), sprung: AtomicU64::new(0) };
        let rules = Arc::new(rules);
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&rules)));
        Ok(Self { port, rules, accepting })
    }

    /// On 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds up all bytes of a way, until [`Self::heal`].
    pub fn block(&self, way: Way) {
        self.rules.valves.send_modify(|valves| valves.all = Some(way));
    }

    /// Holds up the bytes of listening connections alone.
    pub fn block_listeners(&self, way: Way) {
        self.rules.valves.send_modify(|valves| valves.listeners = Some(way));
    }

    /// Every packet takes so much longer.
    pub fn slow(&self, delay_ms: u64) {
        self.rules.valves.send_modify(|valves| valves.delay_ms = delay_ms);
    }

    /// Ends every connection that there is.
    pub fn cut(&self) {
        self.rules.valves.send_modify(|valves| valves.cuts += 1);
    }

    /// Waits for its event.
    pub fn set(&self, trap: Trap) {
        self.rules.traps().push_back(trap);
    }

    /// Everything passes again; what was held up goes on.
    pub fn heal(&self) {
        self.rules.traps().clear();
        self.rules.valves.send_modify(|valves| *valves = Valves { cuts: valves.cuts, ..Valves::default() });
    }

    /// How many replies were cut off or lost.
    pub fn sprung(&self) -> u64 {
        self.rules.sprung.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, server: u16, rules: Arc<Rules>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let rules = Arc::clone(&rules);
        tokio::spawn(async move {
            // A server that is down refuses: the client sees its connection end.
            if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                pump::carry(client, server, &rules).await;
            }
        });
    }
}
