//! Guests that try to reach by NATS what they were not granted, and services that answer badly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, Subscriber};
use avouch_runtime::broker;
use avouch_runtime::rules::{Bindings, Fault, Plugin, Rules, Verdict, nats};
use avouch_runtime::secret::Secret;
use avouch_tests::process::binary;
use avouch_tests::servers::OwnNats;
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::asking::{kv_get, request};
use super::guest::Guest;
use super::{DEADLINE_MS, SLACK, limits, load, still_works};

const BUCKET: &str = "stock";

/// A server of its own with services below `svc.`, so that all that is said there is from the guest.
struct Bus {
    server: OwnNats,
    client: Client,
    rules: Arc<Rules>,
    plugin: Plugin,
}

impl Bus {
    async fn new(limits: &limits::Config) -> Self {
        let server = OwnNats::start().await;
        let client = async_nats::connect(server.url()).await.expect("the server runs");
        let subjects = vec!["svc.>".to_owned()];
        let config = nats::Config { subjects, bucket: Some(BUCKET.into()), server: None };
        let bindings = Bindings { nats: BTreeMap::from([("bus".to_owned(), config)]), ..Bindings::default() };
        let login = broker::Config { url: Secret::new(server.url()), ..broker::Config::default() };
        let rules = Arc::new(Rules::new((limits, 100), &bindings, &login, binary()).expect("the engine can be made"));
        let plugin = load(&rules, Guest::requesting().wasm()).await.expect("it is a plugin");
        Self { server, client, rules, plugin }
    }

    /// Answers below `svc.name` with what was asked, after a while.
    async fn echo(&self, name: &str, after: Duration) {
        let mut asked = self.subscribe(&format!("svc.{name}")).await;
        let client = self.client.clone();
        tokio::spawn(async move {
            while let Some(message) = asked.next().await {
                tokio::time::sleep(after).await;
                let reply = message.reply.expect("it is a request");
                client.publish(reply, message.payload).await.expect("the server runs");
            }
        });
    }

    /// Once the server knows of it: flushing tells only that it was written, and plugins ask over other connections.
    async fn subscribe(&self, subject: &str) -> Subscriber {
        let mut subscriber = self.client.subscribe(subject.to_owned()).await.expect("the server runs");
        let mark = self.client.new_inbox();
        let mut back = self.client.subscribe(mark.clone()).await.expect("the server runs");
        self.client.publish(mark.clone(), "".into()).await.expect("the server runs");
        back.next().await.expect("the server runs");
        while subject == ">" && subscriber.next().await.is_some_and(|heard| heard.subject.as_str() != mark) {}
        subscriber
    }

    async fn request(&self, subject: &str, body: &str) -> Result<Verdict, Fault> {
        request(&self.rules, &self.plugin, subject, body.into()).await
    }

    async fn kv_get(&self, key: &str) -> Result<Verdict, Fault> {
        kv_get(&self.rules, &self.plugin, key).await
    }

    async fn bucket(&self, name: &str) -> async_nats::jetstream::kv::Store {
        let config = async_nats::jetstream::kv::Config { bucket: name.into(), ..Default::default() };
        let made = async_nats::jetstream::new(self.client.clone()).create_key_value(config).await;
        made.expect("a bucket can be made")
    }
}

/// What a service answered.
fn said(verdict: Result<Verdict, Fault>) -> String {
    match verdict {
        Ok(Verdict::Rollback(text)) => text,
        other => panic!("no answer of a service but {other:?}"),
    }
}

#[tokio::test]
async fn guest_asks_on_no_subject_that_is_not_allowed() {
    let bus = Bus::new(&limits()).await;
    bus.echo("echo", Duration::ZERO).await;
    let mut wiretap = bus.subscribe(">").await;
    let subjects = [
        "",
        ".",
        "*",
        ">",
        "svc",
        "svc.",
        ".svc",
        "svc..echo",
        "svc.*",
        "svc.>",
        "svc.*.echo",
        "*.echo",
        "svc.echo.",
        "SVC.echo",
        "svcs.echo",
        "xsvc.echo",
        " svc.echo",
        "svc.echo ",
        "svc.ec ho",
        "svc.echo\t",
        "svc.\0",
        "svc.\u{a0}x",
        "svc.echo\r\nPUB other 1\r\nx\r\n",
        "svc.echo\n",
        "$JS.API.INFO",
        "$JS.API.STREAM.DELETE.AVOUCH",
        "$SYS.REQ.SERVER.PING",
        "$KV.stock.k",
        "_INBOX.x",
        "msg.orders",
        "avouch.v1.tx.commit",
        "avouch.v1.tx.prepare",
        "$SRV.PING",
        "svc,echo",
        "other.svc.echo",
    ];
    for subject in subjects {
        let verdict = bus.request(subject, "attack").await;
        assert!(matches!(&verdict, Err(Fault::Broken(why)) if why.contains("denied")), "{subject:?}: {verdict:?}");
    }
    assert_eq!(said(bus.request("svc.echo", "fine").await), "fine");
    let first = wiretap.next().await.expect("the server runs");
    assert_eq!((first.subject.as_str(), &first.payload[..]), ("svc.echo", &b"fine"[..]), "all others were never said");
    still_works(&bus.rules, "odd subjects").await;
}

#[tokio::test]
async fn line_that_the_server_would_not_take_is_never_sent() {
    let bus = Bus::new(&limits::Config { bytes_out_max: 4 << 20, memory_bytes_max: 64 << 20, ..limits() }).await;
    bus.echo("slow", Duration::from_millis(500)).await;
    assert_eq!(said(bus.request("svc.slow", "connected").await), "connected");
    let others = bus.request("svc.slow", "of another call");
    let attack = async {
        let long = format!("svc.{}", "a".repeat(5_000));
        let tokens = format!("svc{}", ".a".repeat(2_500));
        for subject in [&long, &tokens] {
            let verdict = bus.request(subject, "").await;
            assert!(matches!(&verdict, Err(Fault::Permanent(why)) if why.contains("at most 1000")), "{verdict:?}");
        }
        let verdict = bus.kv_get(&"k".repeat(5_000)).await;
        assert!(matches!(&verdict, Err(Fault::Permanent(why)) if why.contains("at most 1000")), "{verdict:?}");
        let verdict = bus.request("svc.slow", &"x".repeat(2 << 20)).await;
        assert!(matches!(&verdict, Err(Fault::Permanent(why)) if why.contains("max_payload")), "{verdict:?}");
    };
    let (others, ()) = tokio::join!(others, attack);
    assert_eq!(said(others), "of another call", "its connection is everybody's");
}

#[tokio::test]
async fn guest_reads_no_key_but_those_of_its_bucket() {
    let bus = Bus::new(&limits()).await;
    let (stock, other) = (bus.bucket(BUCKET).await, bus.bucket("secrets").await);
    stock.put("item.42", "seven".into()).await.expect("the server runs");
    stock.put("gone", "seven".into()).await.expect("the server runs");
    stock.delete("gone").await.expect("the server runs");
    other.put("k", "s3cret".into()).await.expect("the server runs");
    assert_eq!(said(bus.kv_get("item.42").await), "seven");
    for key in ["gone", "item", "item.43", "k", "secrets.k", "KV.secrets.k", "secrets/k", "_/k"] {
        let nothing = bus.kv_get(key).await;
        assert!(matches!(nothing, Ok(Verdict::Commit)), "{key}: {nothing:?}");
    }
    for key in [
        "",
        ".",
        "*",
        ">",
        "item.*",
        "item.>",
        "*.42",
        "item.",
        ".item",
        "item..42",
        "..",
        "$KV.secrets.k",
        "../secrets/k",
        "item 42",
        "item.42\r\n",
        "item.42\0",
        "ü",
        " item.42",
        "item.42\r\nSUB > 9\r\n",
    ] {
        let verdict = bus.kv_get(key).await;
        assert!(matches!(&verdict, Err(Fault::Permanent(why)) if why.contains("key")), "{key:?}: {verdict:?}");
    }
    assert_eq!(said(bus.kv_get("item.42").await), "seven");
}

#[tokio::test]
async fn services_that_do_not_answer_cost_no_more_than_the_call() {
    let bus = Bus::new(&limits()).await;
    bus.echo("echo", Duration::ZERO).await;
    assert_eq!(said(bus.request("svc.echo", "connected").await), "connected");
    let nobody = bus.request("svc.nobody", "").await;
    assert!(matches!(&nobody, Err(Fault::Transient(why)) if why.contains("nobody answers")), "{nobody:?}");
    let _silent = bus.subscribe("svc.silent").await;
    let began = Instant::now();
    let asks = (0..8).map(|_| bus.request("svc.silent", ""));
    for silent in futures_util::future::join_all(asks).await {
        assert!(matches!(&silent, Err(Fault::Transient(why)) if why.contains("the call's time")), "{silent:?}");
    }
    assert!(began.elapsed() < Duration::from_millis(DEADLINE_MS) + SLACK, "{:?}", began.elapsed());
    assert_eq!(said(bus.request("svc.echo", "still").await), "still");
    let missing = bus.kv_get("item").await;
    assert!(matches!(missing, Err(Fault::Transient(_))), "the bucket is not there: {missing:?}");
    bus.bucket(BUCKET).await.put("item", "now".into()).await.expect("the server runs");
    assert_eq!(said(bus.kv_get("item").await), "now", "it is looked for again");
}

#[tokio::test]
async fn replies_and_values_over_the_limit_are_not_given() {
    let bus = Bus::new(&limits::Config { bytes_in_max: 1_000, ..limits() }).await;
    bus.echo("echo", Duration::ZERO).await;
    let stock = bus.bucket(BUCKET).await;
    stock.put("large", "x".repeat(1_001).into()).await.expect("the server runs");
    stock.put("fits", "x".repeat(1_000).into()).await.expect("the server runs");
    let large = "x".repeat(1_001);
    for verdict in [bus.request("svc.echo", &large).await, bus.kv_get("large").await] {
        assert!(matches!(&verdict, Err(Fault::Permanent(why)) if why.contains("rules.bytes_in_max")), "{verdict:?}");
    }
    assert_eq!(said(bus.request("svc.echo", &large[1..]).await), large[1..]);
    assert_eq!(said(bus.kv_get("fits").await), large[1..]);
}

/// Answers each request on `svc.odd` with the bytes of a header that no client library would write.
async fn odd_service(port: u16, header: &'static str) {
    let (read, mut write) = TcpStream::connect(("127.0.0.1", port)).await.expect("the server runs").into_split();
    let mut read = BufReader::new(read);
    let mut line = String::new();
    read.read_line(&mut line).await.expect("the server greets");
    let hello = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB svc.odd 1\r\nPING\r\n";
    write.write_all(hello.as_bytes()).await.expect("the server runs");
    while !line.starts_with("PONG") {
        line.clear();
        assert_ne!(read.read_line(&mut line).await.expect("the server runs"), 0, "it does not take us");
    }
    tokio::spawn(async move {
        let mut line = String::new();
        while read.read_line(&mut line).await.is_ok_and(|n| n > 0) {
            if line.starts_with("PING") {
                write.write_all(b"PONG\r\n").await.ok();
            }
            if let Some(args) = line.strip_prefix("MSG ") {
                let args: Vec<&str> = args.split_whitespace().collect();
                let (reply, length) = (args[2], args[3].parse::<usize>().expect("a length"));
                read.read_exact(&mut vec![0; length + 2]).await.expect("the payload follows");
                let n = header.len();
                write.write_all(format!("HPUB {reply} {n} {n}\r\n{header}\r\n").as_bytes()).await.ok();
            }
            line.clear();
        }
    });
}

#[tokio::test]
async fn reply_that_breaks_the_client_breaks_no_later_call() {
    for header in [
        "NATS/1.0\r\nX: a\rb\r\n\r\n",
        "NATS/1.0\r\nX a\r\n\r\n",
        "NATS/1.0 abc\r\n\r\n",
        "NOPE\r\n\r\n",
        "NATS/1.0\r\n: x\r\n\r\n",
        "NATS/1.0\r\n\u{7f}\0: \0\r\n\r\n",
    ] {
        let bus = Bus::new(&limits()).await;
        bus.echo("echo", Duration::ZERO).await;
        odd_service(bus.server.port(), header).await;
        assert_eq!(said(bus.request("svc.echo", "connected").await), "connected");
        let verdict = bus.request("svc.odd", "").await;
        assert!(!matches!(verdict, Err(Fault::Broken(_))), "{header:?}: {verdict:?}");
        // The first may still meet the broken connection.
        let mut after = bus.request("svc.echo", "again").await;
        if after.is_err() {
            after = bus.request("svc.echo", "again").await;
        }
        assert_eq!(said(after), "again", "after {header:?}");
        still_works(&bus.rules, header).await;
    }
}
