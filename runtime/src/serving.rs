//! Connections of HTTP servers: how many, how long they may take, and how they end.

mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use self::tls::Tls;

/// Connections at a time; more wait to be accepted. Each takes some tens of kilobytes.
const CONNECTIONS_MAX: usize = 256;
/// A handshake and the head of a request come in one round trip each; this is for the worst of networks. An idle connection ends then.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// A request's head with a cookie and a token has about one kilobyte.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Browsers send about twenty headers.
const HEADERS_MAX: usize = 64;
/// What was sent and is not taken for so long ends the connection: nobody reads there.
const UNREAD_MS_MAX: u32 = 30_000;
/// When no descriptor is left for another connection, some must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served, and where.
pub struct Served {
    /// The port; it does not block.
    pub listener: std::net::TcpListener,
    /// TLS, unless a proxy has it.
    pub acceptor: Option<TlsAcceptor>,
    /// What answers; requests bring their [`Peer`].
    pub router: Router,
    /// What the log says with the address.
    pub said: &'static str,
}

/// Both ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Who calls.
    pub remote: SocketAddr,
    /// What they have called.
    pub local: SocketAddr,
}

/// Serves until `stop`, then gives the requests in flight at most `grace`.
pub async fn run(served: Served, stop: CancellationToken, grace: Duration) {
    let Served { listener, acceptor, router, said } = served;
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(e) => return tracing::error!(error = %e, said, "a port cannot be served: restart the runtime"),
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "{said}");
    }
    let (room, graceful) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), GracefulShutdown::new());
    loop {
        let (stream, remote, permit) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let served = serve(stream, remote, acceptor.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            served.await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::info!("requests over HTTP were left unanswered");
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("it is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => return (stream, remote, permit),
            Err(e) => {
                tracing::debug!(error = %e, "an HTTP connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, remote: SocketAddr, tls: Option<TlsAcceptor>, router: Router, watcher: Watcher) {
    let Ok(local) = stream.local_addr() else { return };
    // Otherwise a client that does not read would hold its connection for good. Without it the number of connections is the bound.
    if let Err(e) = setsockopt(&stream, sockopt::TcpUserTimeout, &UNREAD_MS_MAX) {
        tracing::debug!(error = %e, "a connection has no limit for what is not taken");
    }
    let peer = Peer { remote, local };
    match tls {
        None => speak(stream, peer, router, watcher).await,
        Some(acceptor) => match tokio::time::timeout(HEAD_LIMIT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => speak(stream, peer, router, watcher).await,
            Ok(Err(e)) => tracing::debug!(error = %e, %remote, "no TLS with an HTTP client"),
            Err(_) => tracing::debug!(%remote, "an HTTP client took too long for TLS"),
        },
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, peer: Peer, router: Router, watcher: Watcher) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let has_body = !request.body().is_end_stream();
        let answer = router.call(request);
        async move {
            let mut answer = answer.await?;
            // Its body may not have been read, and then the connection ends: a client that does not know would ask the next thing there.
            if has_body && !answer.status().is_success() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(e) = watcher.watch(connection).await {
        tracing::debug!(error = %e, remote = %peer.remote, "an HTTP connection broke");
    }
}
