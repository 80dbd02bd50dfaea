//! What everybody is answered alike: names, limits, headers, and problems that say what to do.

use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::OwnNats;
use avouch_tests::stream::jetstream_at;
use avouch_tests::wait::{secs, until};
use nix::sys::signal::Signal;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Served, address_of, client, problem, send};
use crate::cli::avouch;
use crate::ground::Ground;
use crate::schema::File;

#[tokio::test]
async fn whatever_cannot_be_done_is_a_problem_with_a_remedy() {
    let served = Served::new().await;
    let admin = served.token("root", "admin").await;
    let post = |body: String| served.ask(Method::POST, "/v1/tokens").bearer_auth(&admin).body(body);
    let json = |body: &str| post(body.to_owned()).header("content-type", "application/json");
    problem(served.ask(Method::GET, "/v1/nothing").bearer_auth(&admin), 404).await;
    problem(served.ask(Method::GET, "/assets/console.css"), 404).await;
    problem(served.ask(Method::DELETE, "/v1/me").bearer_auth(&admin), 405).await;
    let allowed = send(served.ask(Method::DELETE, "/v1/me").bearer_auth(&admin)).await;
    assert_eq!(allowed.headers()["allow"], "GET,HEAD");
    problem(post("{}".into()), 415).await;
    problem(post("{}".into()).header("content-type", "text/plain"), 415).await;
    problem(json("{\"name\": "), 400).await;
    problem(json("{\"name\": \"x\", \"role\": \"view\"} {}"), 400).await;
    problem(json("[]"), 422).await;
    problem(json(&format!("{{\"name\": \"{}\"}}", "x".repeat(70 << 10))), 413).await;
    let revoke = served.ask(Method::POST, "/v1/tokens/x/revoke").bearer_auth(&admin).body("{}");
    problem(revoke.header("content-type", "application/json").header("avouch-reason", "%ff"), 400).await;
    problem(served.ask(Method::GET, "/login/oidc"), 404).await;
    problem(served.ask(Method::GET, "/login?next=%ff&next=x"), 400).await;
}

#[tokio::test]
async fn as_many_ids_as_one_request_takes_fit_into_its_body() {
    let served = Served::with("[consumer.billing]\ntopics = [\"orders\"]").await;
    let admin = served.token("root", "admin").await;
    let ids: Vec<String> = (0..10_001).map(|_| uuid::Uuid::now_v7().to_string()).collect();
    for path in ["/v1/dead/resend", "/v1/dead/discard", "/v1/consumers/billing/replay"] {
        let ask = |ids: &[String]| {
            let request = served.ask(Method::POST, path).bearer_auth(&admin).header("content-type", "application/json");
            request.body(serde_json::json!({ "ids": ids, "reason": "x" }).to_string())
        };
        assert_eq!(send(ask(&ids[1..])).await.status(), 200, "{path}");
        let refused = problem(ask(&ids), 422).await;
        assert!(refused["remedy"].as_str().is_some_and(|text| text.contains("10000")), "{refused}");
    }
}

#[tokio::test]
async fn every_answer_keeps_browsers_from_what_no_page_of_ours_does() {
    let served = Served::new().await;
    let admin = served.token("root", "admin").await;
    let page = send(served.ask(Method::GET, "/login")).await;
    let asset = page.text().await.expect("it is a page");
    let asset =
        asset.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it has a style").to_owned();
    for path in ["/", "/login", "/livez", "/readyz", "/v1/me", "/v1/tokens", "/v1/nothing", "/nothing", &asset] {
        for request in [served.ask(Method::GET, path), served.ask(Method::GET, path).bearer_auth(&admin)] {
            let response = send(request.header("accept", "text/html")).await;
            let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
            for part in [
                "default-src 'none'",
                "script-src 'self'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
                "form-action 'self'",
            ] {
                assert!(header("content-security-policy").contains(part), "{path}: {part}");
            }
            assert!(!header("content-security-policy").contains("unsafe"), "{path}");
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            let is_page = header("content-type").starts_with("text/html");
            assert_eq!(header("referrer-policy"), if is_page { "same-origin" } else { "no-referrer" }, "{path}");
            let kept = if path == asset { "public, max-age=31536000, immutable" } else { "no-store" };
            assert_eq!(header("cache-control"), kept, "{path}");
        }
    }
}

#[tokio::test]
async fn names_that_somebody_else_made_lead_here_are_refused() {
    let served = Served::with("public_url = \"https://avouch.example\"").await;
    let admin = served.token("root", "admin").await;
    let of = |host: &str| served.ask(Method::GET, "/v1/me").bearer_auth(&admin).header("host", host);
    for host in ["localhost", "localhost:1", "127.0.0.1", "[::1]:9180", "avouch.example", "AVOUCH.example:443"] {
        assert_eq!(send(of(host)).await.status(), 200, "{host}");
    }
    for host in ["evil.example", "avouch.example.evil.example", "10.9.8.7", "127.0.0.1.evil.example", "x@localhost"] {
        problem(of(host), 421).await;
    }
    for head in ["GET /livez HTTP/1.1\r\n\r\n", "GET /livez HTTP/1.1\r\nhost: localhost\r\nhost: evil\r\n\r\n"] {
        let answer = say(&served, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let absolute = "GET http://evil.example/livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(say(&served, absolute.as_bytes()).await.starts_with("HTTP/1.1 421"));
}

#[tokio::test]
async fn those_who_dawdle_are_hung_up_on_and_keep_nobody_out() {
    let served = Served::new().await;
    let mut slow = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(served.address).await.expect("the port is open");
        if n % 2 == 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: loc").await.expect("it is open");
        }
        slow.push(stream);
    }
    assert_eq!(send(served.ask(Method::GET, "/livez")).await.status(), 200, "once the first are hung up on");
    for mut stream in slow {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(secs(120), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a connection that says nothing stays");
    }
}

#[tokio::test]
async fn heads_that_are_too_large_are_not_read() {
    let served = Served::new().await;
    let long = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(200));
    for head in [long, many] {
        let answer = say(&served, head.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert_eq!(send(served.ask(Method::GET, "/livez")).await.status(), 200);
}

#[tokio::test]
async fn readiness_says_what_is_missing_and_liveness_stays() {
    let mut nats = OwnNats::start().await;
    let ground = Ground::with(Database::create().await, nats.url(), jetstream_at(&nats.url()).await).await;
    let avouch = ground.runtime("[admin]\nlisten = \"127.0.0.1:0\"\n").await;
    let (http, address) = (client(), address_of(&avouch).await);
    let at = |path: &str| http.get(format!("http://{address}{path}"));
    until("it to be ready", secs(30), async || (send(at("/readyz")).await.status() == 200).then_some(())).await;
    nats.stop().await.expect("it stops");
    let unready = until("NATS to be missed", secs(60), async || {
        let response = send(at("/readyz")).await;
        (response.status() == 503).then_some(response)
    })
    .await;
    assert!(unready.text().await.expect("it has a body").contains("NATS is not connected"));
    ground.client.batch_execute("update avouch.meta set version = 99").await.expect("it can be changed");
    let why = problem(at("/readyz"), 503).await["detail"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("schema") && why.contains("NATS"), "{why}");
    assert_eq!(send(at("/livez")).await.status(), 200);
}

#[tokio::test]
async fn database_that_is_down_at_start_is_told_and_answers_stay_problems() {
    let config = "[source.main]\nurl = \"postgres://nobody@127.0.0.1:1/none\"\n[nats]\nurl = \"nats://127.0.0.1:1\"\n\
                  [admin]\nlisten = \"127.0.0.1:0\"\n";
    let avouch = Avouch::run(config).await;
    let (http, address) = (client(), address_of(&avouch).await);
    let at = |path: &str| http.get(format!("http://{address}{path}"));
    assert_eq!(send(at("/livez")).await.status(), 200);
    problem(at("/readyz"), 503).await;
    let token = avouch_runtime::access::new_token();
    problem(at("/v1/me").bearer_auth(token), 503).await;
}

#[tokio::test]
async fn port_that_is_taken_ends_the_start_with_the_remedy() {
    let (served, ground) = (Served::new().await, Ground::new().await);
    let config = ground.config(&format!("[admin]\nlisten = \"{}\"\n", served.address));
    let told = avouch(&["run", "--config", File::new("avouch.toml", &config).path()], &[]).await;
    told.fails_with(1).says("admin.listen").says("choose a free address");
}

#[tokio::test]
async fn stopping_ends_connections_that_wait_for_nothing() {
    let mut served = Served::new().await;
    assert_eq!(send(served.ask(Method::GET, "/livez")).await.status(), 200, "its connection is kept");
    let silent = TcpStream::connect(served.address).await.expect("the port is open");
    served.avouch.signal(Signal::SIGTERM);
    assert!(served.avouch.wait_for_end(secs(30)).await.success());
    drop(silent);
    assert!(!served.avouch.log().contains("left unanswered"), "nobody waited for an answer");
}

#[tokio::test]
async fn settings_that_would_let_anybody_in_are_refused() {
    for (settings, text) in [
        ("listen = \"0.0.0.0:9180\"\nauth = \"none\"", "admin.auth = \"none\""),
        ("auth = \"none\"\npublic_url = \"https://avouch.example\"", "admin.public_url, which is not on loopback"),
        ("auth = \"none\"\n[admin.oidc]\nissuer = \"https://login.example\"\nclient_id = \"x\"", "[admin.oidc]"),
        ("public_url = \"avouch.example\"", "admin.public_url"),
        ("session_idle_s = 0", "admin.session_idle_s"),
        ("[admin.oidc]\nissuer = \"http://login.example\"\nclient_id = \"x\"", "admin.oidc.issuer"),
        ("source = \"other\"", "admin.source"),
    ] {
        let file = File::new(
            "avouch.toml",
            &format!("[source.main]\nurl = \"postgres://localhost/x\"\n[admin]\n{settings}\n"),
        );
        let told = avouch(&["config", "check", "--config", file.path()], &[]).await;
        told.fails_with(1).says(text);
    }
}

/// Says this and reads until the other side hangs up.
async fn say(served: &Served, head: &[u8]) -> String {
    let mut stream = TcpStream::connect(served.address).await.expect("the port is open");
    // It may hang up while we still speak.
    stream.write_all(head).await.ok();
    // The end of our half would be taken for the end of us. An answer's head comes in one piece.
    let mut answer = vec![0; 4 << 10];
    let read = tokio::time::timeout(secs(60), stream.read(&mut answer)).await.expect("it answers or hangs up");
    answer.truncate(read.unwrap_or(0));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn connection_of_a_body_that_was_refused_unread_is_said_to_end() {
    let served = Served::new().await;
    let admin = served.token("root", "admin").await;
    let upload = |query: &str| {
        let request = served.ask(Method::POST, &format!("/v1/plugins{query}")).bearer_auth(&admin);
        request.header("content-type", "application/wasm").body(vec![0; 1 << 20])
    };
    for _ in 0..20 {
        // Refused for its query, before anybody reads its body.
        let refused = send(upload("?settings=[]")).await;
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["connection"]),
            (400, &"close".parse().expect("a value"))
        );
        assert_eq!(send(served.ask(Method::GET, "/v1/me").bearer_auth(&admin)).await.status(), 200);
    }
}
