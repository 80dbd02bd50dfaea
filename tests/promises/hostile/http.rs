//! Guests that try to reach by HTTP what they were not granted.

use std::collections::BTreeMap;
use std::sync::Arc;

use avouch_runtime::rules::{Bindings, Error, Fault, Plugin, Rules, Verdict, http};
use avouch_runtime::secret::Secret;
use avouch_tests::plugins;
use avouch_tests::web::{Web, reply};

use super::asking::{Ask, Tell, number, send};
use super::guest::Guest;
use super::{limits, load, rules, still_works};
use crate::cli::avouch;
use crate::schema::File;

/// What the operator adds to each request.
const SECRET: &str = "Bearer s3cret";

/// A guest with one origin.
pub struct Caller {
    pub rules: Arc<Rules>,
    plugin: Plugin,
}

impl Caller {
    pub async fn of(origin: &str) -> Self {
        Self::with(origin, false, &limits()).await
    }

    pub async fn with(origin: &str, private: bool, limits: &limits::Config) -> Self {
        let rules = rules(limits, &binding(origin, private));
        let plugin = load(&rules, Guest::sending().wasm()).await.expect("it is a plugin");
        Self { rules, plugin }
    }

    pub async fn send(&self, ask: Ask<'_>) -> Result<Verdict, Fault> {
        send(&self.rules, &self.plugin, ask, Tell::Body).await.verdict
    }

    pub async fn tells(&self, ask: Ask<'_>, tell: Tell) -> u32 {
        number(send(&self.rules, &self.plugin, ask, tell).await)
    }
}

fn binding(origin: &str, private: bool) -> Bindings {
    let headers = BTreeMap::from([
        ("authorization".to_owned(), Secret::new(SECRET)),
        ("x-team".to_owned(), Secret::new("payments")),
    ]);
    let config = http::Config { origin: origin.into(), headers, private, connect_timeout_ms: 1_000 };
    Bindings { http: BTreeMap::from([("web".to_owned(), config)]), ..Bindings::default() }
}

async fn web() -> Web {
    Web::answering(|_| (200, "fine".into())).await
}

#[tokio::test]
async fn guest_reaches_nothing_but_what_is_below_its_origin() {
    let (web, other) = (web().await, web().await);
    let caller = Caller::of(&format!("{}/api", web.origin())).await;
    let port = other.port();
    let mut paths: Vec<String> = [
        "",
        "x",
        "?x",
        "@",
        ":80/",
        "*",
        "/..",
        "/../",
        "/../x",
        "/../api-admin",
        "/../apix/y",
        "/./../x",
        "/a/../../x",
        "/%2e%2e/x",
        "/.%2E/x",
        "/%2E%2E",
        "/a/%2e%2e/%2e%2e/x",
        "/..\\x",
        "/\\..\\x",
        "/x#y",
        "/a b",
        "/a\tb",
        "/a\0b",
        "/\u{7f}",
        "/x HTTP/1.1\r\nhost: evil\r\n\r\nGET /",
        "/x\r\nx-a: b",
        "/x\n",
        "\r\n/x",
        " /x",
        "//",
        "//x",
        "///x",
        "/;/../x",
        "/..;/x",
        "/x?y=http://127.0.0.1/",
        "/%0d%0ax",
        "/%00",
        "/ü",
        "/..%2fx",
        "/..%5cx",
        "/x?a=..&b=/../",
        "/.../x",
    ]
    .map(str::to_owned)
    .to_vec();
    for base in [
        "http://127.0.0.1:PORT/",
        "//127.0.0.1:PORT/",
        "\\\\127.0.0.1:PORT/",
        "/\\127.0.0.1:PORT/",
        "@127.0.0.1:PORT/",
        "/@127.0.0.1:PORT/",
        "/x@127.0.0.1:PORT/",
        ".127.0.0.1:PORT/",
        "//u:p@127.0.0.1:PORT/",
        "///127.0.0.1:PORT/",
        "/http://127.0.0.1:PORT/",
        "https:127.0.0.1:PORT",
        "/../../127.0.0.1:PORT",
        "http:/127.0.0.1:PORT/",
    ] {
        paths.push(base.replace("PORT", &port.to_string()));
    }
    for path in &paths {
        let answer = caller.send(Ask::get(path)).await;
        let asked = web.take();
        match &answer {
            Err(Fault::Permanent(why)) => {
                assert!(why.contains("must begin with / and stay below the origin"), "{path:?}: {why}");
                assert!(asked.is_empty(), "{path:?} was refused and sent");
            }
            Ok(Verdict::Rollback(body)) => {
                assert_eq!((body.as_str(), asked.len()), ("fine", 1), "{path:?}");
                assert!(asked[0].line.starts_with("GET /api/"), "{path:?} became {}", asked[0].line);
                assert_eq!(asked[0].line.split(' ').count(), 3, "{path:?} became {}", asked[0].line);
                assert_eq!(asked[0].header("host"), Some(format!("127.0.0.1:{}", web.port()).as_str()), "{path:?}");
            }
            other => panic!("{path:?}: {other:?}"),
        }
    }
    assert!(other.asked().is_empty(), "{:?}", other.asked());
    still_works(&caller.rules, "odd paths").await;
}

#[tokio::test]
async fn headers_of_the_host_and_its_operator_are_not_the_guests() {
    let web = web().await;
    let caller = Caller::of(&web.origin()).await;
    for name in [
        "Host",
        "connection",
        "Keep-Alive",
        "transfer-encoding",
        "Content-Length",
        "TE",
        "trailer",
        "upgrade",
        "expect",
        "proxy-connection",
        "Proxy-Authorization",
        "via",
        "forwarded",
        "x-forwarded-for",
        "X-Forwarded-Port",
        "x-real-ip",
        "cookie",
        "authorization",
        "AUTHORIZATION",
        "X-Team",
    ] {
        let verdict = caller.send(Ask::get("/").with(name, "chunked")).await;
        assert!(matches!(&verdict, Err(Fault::Broken(why)) if why.contains("denied")), "{name}: {verdict:?}");
    }
    let odd = [
        ("a b", "x"),
        ("", "x"),
        (":path", "x"),
        ("a\r\nb", "x"),
        ("a:", "x"),
        ("ü", "x"),
        ("host ", "x"),
        (" host", "x"),
        ("a\0", "x"),
        ("x", "a\r\nhost: evil"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0"),
        ("x", "\u{7f}"),
    ];
    for (name, value) in odd {
        let verdict = caller.send(Ask::get("/").with(name, value)).await;
        assert!(matches!(verdict, Err(Fault::Permanent(_))), "{name:?}: {value:?}: {verdict:?}");
    }
    let mut many = Ask::get("/");
    many.headers = (0..65).map(|n| (format!("x-{n}"), String::new())).collect();
    assert!(matches!(caller.send(many).await, Err(Fault::Permanent(why)) if why.contains("65 headers")));
    assert!(web.asked().is_empty(), "{:?}", web.asked());

    assert!(matches!(caller.send(Ask::get("/").with("X-Request-Id", "7")).await, Ok(Verdict::Rollback(_))));
    let asked = &web.asked()[0];
    assert_eq!([asked.header("authorization"), asked.header("x-team")], [Some(SECRET), Some("payments")]);
    assert_eq!(asked.header("x-request-id"), Some("7"));
    assert_eq!(asked.header("accept-encoding"), None, "what comes is what counts: nothing is decompressed");
}

#[tokio::test]
async fn what_a_guest_gives_is_counted_with_its_headers() {
    let web = web().await;
    let limits = limits::Config { bytes_out_max: 64 << 10, ..limits() };
    let caller = Caller::with(&web.origin(), false, &limits).await;
    let long = "x".repeat(70 << 10);
    for (method, path, header, body) in [
        ("GET", "/", long.as_str(), ""),
        ("GET", &format!("/{long}"), "", ""),
        ("PUT", "/", "", &long),
        (&long, "/", "", ""),
    ] {
        let headers = vec![("x-a".to_owned(), header.to_owned())];
        let verdict = caller.send(Ask { method, path, headers, body: body.into() }).await;
        assert!(matches!(&verdict, Err(Fault::Broken(why)) if why.contains("rules.bytes_out_max")), "{verdict:?}");
    }
    assert!(web.asked().is_empty());
}

#[tokio::test]
async fn methods_are_those_that_neither_show_headers_nor_make_tunnels() {
    let web = web().await;
    let caller = Caller::of(&web.origin()).await;
    for method in
        ["TRACE", "CONNECT", "get", "", "PURGE", "GET ", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET", "G\0T", "ÜT", "PRI"]
    {
        let verdict = caller.send(Ask { method, ..Ask::get("/") }).await;
        assert!(matches!(&verdict, Err(Fault::Permanent(why)) if why.contains("method")), "{method:?}: {verdict:?}");
    }
    assert!(web.asked().is_empty(), "{:?}", web.asked());
    for method in ["GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] {
        let ask = Ask { method, body: b"told".to_vec(), ..Ask::get("/") };
        assert!(matches!(caller.send(ask).await, Ok(Verdict::Rollback(body)) if body == "fine"), "{method}");
    }
    assert!(web.asked().iter().all(|asked| asked.body == b"told"), "{:?}", web.asked());
    assert_eq!(caller.tells(Ask { method: "HEAD", ..Ask::get("/") }, Tell::Status).await, 200);
}

#[tokio::test]
async fn redirects_are_answers_and_nothing_more() {
    let other = web().await;
    let target = other.origin();
    let web = Web::start(move |asked, socket| {
        let status = asked.path().trim_start_matches('/').parse().expect("the path is a status");
        reply(socket, status, format!("location: {target}/stolen\r\nrefresh: 0; url={target}\r\n"), Vec::new())
    })
    .await;
    let caller = Caller::of(&web.origin()).await;
    for status in ["300", "301", "302", "303", "305", "307", "308"] {
        let path = format!("/{status}");
        let told = caller.tells(Ask { method: "POST", body: b"x".to_vec(), ..Ask::get(&path) }, Tell::Status).await;
        assert_eq!(told.to_string(), status);
    }
    assert_eq!(web.asked().len(), 7);
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}

#[tokio::test]
async fn names_lead_into_a_private_network_only_where_the_binding_says_so() {
    let web = web().await;
    let origin = format!("http://localhost:{}", web.port());
    let verdict = Caller::with(&origin, false, &limits()).await.send(Ask::get("/")).await;
    let remedy = "binding.http.web.private = true";
    assert!(
        matches!(&verdict, Err(Fault::Broken(why)) if why.contains("denied") && why.contains(remedy)),
        "{verdict:?}"
    );
    assert!(web.asked().is_empty());
    let verdict = Caller::with(&origin, true, &limits()).await.send(Ask::get("/")).await;
    assert!(matches!(verdict, Ok(Verdict::Rollback(_))), "{verdict:?}");
    assert_eq!(web.asked().len(), 1);
}

#[tokio::test]
async fn metadata_of_a_cloud_is_no_origin_whatever_the_binding_says() {
    for origin in
        ["http://169.254.169.254", "http://[::ffff:169.254.169.254]/", "http://2852039166", "http://[fd00:ec2::254]"]
    {
        let made =
            Rules::new((&limits(), 100), &binding(origin, true), &Default::default(), avouch_tests::process::binary());
        assert!(matches!(made.err(), Some(Error::Fatal(why)) if why.contains("metadata")), "{origin}");
    }
}

#[tokio::test]
async fn proxy_variables_change_no_way() {
    let web = Web::answering(|_| (200, r#"{"status": "settled"}"#.into())).await;
    let proxy = Web::answering(|_| (200, r#"{"status": "declined"}"#.into())).await;
    let guest = plugins::file("payment-http-check");
    let cases = File::new("cases.json", r#"[{"transaction": {"reference": "7"}, "expect": "commit"}]"#);
    let config = File::new("avouch.toml", &format!("[binding.http.payments]\norigin = \"{}\"\n", web.origin()));
    let guest = guest.to_str().expect("a UTF-8 path");
    let args =
        ["plugin", "test", guest, "--cases", cases.path(), "--grant", "http:payments", "--config", config.path()];
    let to = proxy.origin();
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    avouch(&args, &names.map(|name| (name, to.as_str()))).await.succeeds();
    assert_eq!(web.asked().len(), 1);
    assert!(proxy.asked().is_empty(), "{:?}", proxy.asked());
}
