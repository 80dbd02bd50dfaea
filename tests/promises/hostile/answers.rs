//! HTTP servers that attack whoever asks them: each ends as an error or as the answer that it is, within the call's limits.

use std::time::Duration;

use avouch_runtime::rules::{Fault, Verdict};
use avouch_tests::web::{Asked, Web, reply};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::asking::{Ask, Tell};
use super::http::Caller;
use super::{limits, still_works};

/// So much a call may be given here.
const BYTES_IN_MAX: usize = 64 << 10;
/// A call ends within it, and the tests need not wait for the usual one.
const DEADLINE_MS: u64 = 1_000;

async fn caller(web: &Web) -> Caller {
    let limits = limits::Config { bytes_in_max: BYTES_IN_MAX, deadline_ms: DEADLINE_MS, ..limits() };
    Caller::with(&web.origin(), false, &limits).await
}

/// Writes until the other side has enough.
async fn endless(socket: &mut TcpStream, piece: &[u8]) {
    while socket.write_all(piece).await.is_ok() {}
}

/// One piece after another; each would renew a deadline that counts from the last byte.
async fn dripping(socket: &mut TcpStream, piece: &[u8]) {
    while socket.write_all(piece).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

async fn attack(asked: Asked, mut socket: TcpStream) {
    let chunked = format!("{OK}transfer-encoding: chunked\r\n\r\n");
    let length = |n: usize| format!("{OK}content-length: {n}\r\n\r\n");
    let head = match asked.path() {
        "/long" | "/huge-promise" => length(usize::MAX >> 1),
        "/one-too-many" => length(BYTES_IN_MAX + 1),
        "/chunks" | "/chunk-extensions" | "/trailers" | "/bad-chunk" | "/huge-chunk" | "/drip-chunks" => chunked,
        "/until-the-end" => format!("{OK}\r\n"),
        "/drip-body" => length(1_000_000),
        "/drip-head" | "/headers" | "/one-header" => OK.to_owned(),
        "/continue" | "/drip-continue" | "/nothing" | "/garbage" => String::new(),
        "/switch" => "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".into(),
        "/two-lengths" => format!("{OK}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        "/negative" => format!("{OK}content-length: -1\r\n\r\nab"),
        "/short" => format!("{OK}content-length: 10\r\n\r\nab"),
        other => panic!("{other}"),
    };
    if socket.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let block = vec![b'x'; 8 << 10];
    let chunk = [b"2000\r\n".as_slice(), &block, b"\r\n"].concat();
    match asked.path() {
        "/long" | "/one-too-many" | "/until-the-end" | "/one-header" => endless(&mut socket, &block).await,
        "/chunks" => endless(&mut socket, &chunk).await,
        "/chunk-extensions" => {
            endless(&mut socket, b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n").await
        }
        "/headers" => endless(&mut socket, b"x-header: and another one\r\n").await,
        "/continue" => endless(&mut socket, b"HTTP/1.1 100 Continue\r\n\r\n").await,
        "/garbage" => endless(&mut socket, b"\0\xff\r\n").await,
        "/trailers" => {
            socket.write_all(b"1\r\nx\r\n0\r\n").await.ok();
            endless(&mut socket, b"x-trailer: and another one\r\n").await;
        }
        "/bad-chunk" => drop(socket.write_all(b"-1\r\nx\r\n").await),
        "/huge-chunk" => {
            socket.write_all(b"7fffffffffffffff\r\n").await.ok();
            endless(&mut socket, &block).await;
        }
        "/drip-head" => dripping(&mut socket, b"x").await,
        "/drip-body" => dripping(&mut socket, b"x").await,
        "/drip-chunks" => dripping(&mut socket, b"1\r\nx\r\n").await,
        "/drip-continue" => dripping(&mut socket, b"HTTP/1.1 100 Continue\r\n\r\n").await,
        "/huge-promise" | "/nothing" => tokio::time::sleep(Duration::from_millis(DEADLINE_MS * 3)).await,
        _ => {}
    }
}

/// What each of them comes to: the kind of the fault, and a word of its text.
const ATTACKS: &[(&str, &str, &str)] = &[
    ("/long", "permanent", "rules.bytes_in_max"),
    ("/one-too-many", "permanent", "rules.bytes_in_max"),
    ("/until-the-end", "permanent", "rules.bytes_in_max"),
    ("/chunks", "permanent", "rules.bytes_in_max"),
    ("/huge-chunk", "permanent", "rules.bytes_in_max"),
    ("/chunk-extensions", "transient", "broke off"),
    ("/trailers", "transient", ""),
    ("/bad-chunk", "transient", "broke off"),
    ("/headers", "transient", "broke off"),
    ("/one-header", "transient", "broke off"),
    ("/continue", "transient", ""),
    ("/garbage", "transient", "broke off"),
    ("/two-lengths", "transient", "broke off"),
    ("/negative", "transient", "broke off"),
    ("/short", "transient", "broke off"),
    ("/huge-promise", "transient", "the call's time"),
    ("/nothing", "transient", "the call's time"),
    ("/drip-head", "transient", "the call's time"),
    ("/drip-body", "transient", "the call's time"),
    ("/drip-chunks", "transient", "the call's time"),
    ("/drip-continue", "transient", "the call's time"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_end_end_at_a_limit_of_the_call() {
    let web = Web::start(attack).await;
    let caller = caller(&web).await;
    let mut wrong = Vec::new();
    for (path, kind, says) in ATTACKS {
        let asking = tokio::time::timeout(Duration::from_secs(10), caller.send(Ask::get(path)));
        let verdict = asking.await.unwrap_or_else(|_| panic!("{path} has no end"));
        let is_as_told = match &verdict {
            Err(Fault::Permanent(why)) => *kind == "permanent" && why.contains(says),
            Err(Fault::Transient(why)) => *kind == "transient" && why.contains(says),
            _ => false,
        };
        if !is_as_told {
            wrong.push(format!("{path}: {verdict:?} is not {kind} with {says:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(caller.tells(Ask::get("/switch"), Tell::Status).await, 101, "what is no tunnel is an answer");
    still_works(&caller.rules, "hostile servers").await;
}

#[tokio::test]
async fn headers_that_are_given_count_as_bytes_that_are_given() {
    let web = Web::start(|asked, socket| {
        let headers = match asked.path() {
            "/large" => format!("x-large: {}\r\n", "x".repeat(BYTES_IN_MAX)),
            "/many" => (0..150).map(|n| format!("x-{n}: x\r\n")).collect(),
            _ => (0..50).map(|n| format!("x-{n}: x\r\n")).collect(),
        };
        reply(socket, 200, headers, Vec::new())
    })
    .await;
    let caller = caller(&web).await;
    let large = caller.send(Ask::get("/large")).await;
    assert!(matches!(&large, Err(Fault::Permanent(why)) if why.contains("rules.bytes_in_max")), "{large:?}");
    let many = caller.send(Ask::get("/many")).await;
    assert!(matches!(many, Err(Fault::Transient(_))), "{many:?}");
    assert_eq!(caller.tells(Ask::get("/some"), Tell::Headers).await, 52);
}

#[tokio::test]
async fn compressed_answers_stay_compressed() {
    // 64 MiB of zeros, if somebody believed it.
    let bomb: Vec<u8> = [b"\x1f\x8b\x08\0\0\0\0\0\0\x03".as_slice(), &[0x5a; 990]].concat();
    let web = Web::start(move |_, socket| reply(socket, 200, "content-encoding: gzip\r\n".into(), bomb.clone())).await;
    let caller = caller(&web).await;
    assert_eq!(caller.tells(Ask::get("/"), Tell::Length).await, 1_000);
    let asked = &web.asked()[0];
    assert_eq!(asked.header("accept-encoding"), None);
    let body = caller.send(Ask::get("/")).await;
    assert!(matches!(&body, Err(Fault::Broken(why)) if why.contains("utf-8")), "it is no reason: {body:?}");
    assert!(!matches!(body, Ok(Verdict::Commit)));
}
