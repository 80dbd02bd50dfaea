//! A wire between a runtime and a server, which a test can cut: what is under way then arrives once it is mended, late as it is.
//!
//! Neither side learns of the cut, as in a partition: connections stay open, their ends included, and new ones are not answered.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHUNK_BYTES: usize = 64 << 10;

/// From a port of its own to one of a server. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    is_cut: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// To this port on loopback.
    pub async fn to(server: u16) -> Wire {
        Wire::from("127.0.0.1", server).await
    }

    /// From a port on this address of the machine, to this one on loopback.
    pub async fn from(here: &str, server: u16) -> Wire {
        let listener = TcpListener::bind((here, 0)).await.expect("the address is this machine's, and has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (is_cut, watched) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                tokio::spawn(connect(here, server, watched.clone()));
            }
        });
        Wire { port, is_cut, accepting }
    }

    /// Where the runtime connects.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing arrives any more, in neither direction.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// What has waited arrives.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(here: TcpStream, server: u16, mut is_cut: watch::Receiver<bool>) {
    if is_cut.wait_for(|cut| !cut).await.is_err() {
        return;
    }
    let Ok(there) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    for end in [&here, &there] {
        end.set_nodelay(true).expect("it is connected");
    }
    let ((from_here, to_here), (from_there, to_there)) = (here.into_split(), there.into_split());
    tokio::join!(carry(from_here, to_there, is_cut.clone()), carry(from_there, to_here, is_cut));
}

/// Until one end closes, which the other learns as late as everything else.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        // Without its wire nothing arrives at all.
        if is_cut.wait_for(|cut| !cut).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}
