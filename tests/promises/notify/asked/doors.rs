//! Who is let in, and how they come there: tokens, TLS, two ports that know nothing of each other.

use avouch_runtime::access::new_token;
use avouch_runtime::config::Config;
use avouch_tests::metrics;
use avouch_tests::wait::until;
use reqwest::Method;

use super::super::{LIMIT, Notified, Receiver, settings};
use super::{Answering, address_of, client, json_of, problem, send};
use crate::admin::{self, trusting};
use crate::ground::Ground;
use crate::schema::File;
use crate::secure::identities::Authority;

const SINCE: &str = "/v1/notify/messages?since=2026-01-01T00:00:00Z";

#[tokio::test]
async fn token_lets_in_until_it_is_revoked_has_ended_or_its_endpoint_is_removed() {
    let receiver = Receiver::new(200).await;
    let two = format!("{}{}", receiver.section("merchant", ""), receiver.section("other", ""));
    let answering = Answering::new(&two).await;
    let names = ["merchant", "merchant", "merchant", "other"];
    let mut tokens = Vec::new();
    for name in names {
        tokens.push(answering.token(name).await);
        answering.json(SINCE, &tokens[tokens.len() - 1]).await;
    }
    let [revoked, ended, kept, removed] = &tokens[..] else { panic!("four") };
    let change = async |token: &str, change: &str| {
        let hash = avouch_runtime::access::hash_token(token).expect("it is one");
        let sql = format!("update avouch.endpoint_token set {change} where hash = $1");
        answering.notified.ground.client.execute(&sql, &[&hash.as_slice()]).await.expect("is valid");
    };
    change(revoked, "revoked_at = now()").await;
    change(ended, "ends_at = now()").await;
    answering.notified.sql("select avouch.remove_endpoint('other')").await;
    for token in [revoked, ended, removed] {
        let refused = problem(answering.get(SINCE, token), 401).await;
        assert_eq!(refused["type"], "urn:avouch:problem:unauthenticated");
    }
    answering.notified.sql("select avouch.set_endpoint('merchant', 'disabled')").await;
    assert_eq!(answering.json(SINCE, kept).await["enabled"], false);
}

#[tokio::test]
async fn unknown_tokens_are_tried_so_often_and_disturb_nobody_who_is_known() {
    let receiver = Receiver::new(200).await;
    let answering = Answering::new(&receiver.section("merchant", "")).await;
    let known = answering.token("merchant").await;
    answering.json(SINCE, &known).await;
    // What has not even the form of one is refused without a look, and does not count.
    for bad in ["", "avouch_", "avouch_ä", "hunter2", &known[..known.len() - 1], &format!("{known}x")] {
        let request = answering.ask(Method::GET, SINCE).header("authorization", format!("Bearer {bad}").into_bytes());
        problem(request, 401).await;
    }
    let mut refused = 0;
    // On a slow machine some of them are forgotten meanwhile: one in six seconds.
    let waits = loop {
        while send(answering.get(SINCE, &new_token())).await.status() == 401 {
            refused += 1;
            assert!(refused < 1_000, "nobody stops them");
        }
        let fresh = send(answering.get(SINCE, &answering.token("merchant").await)).await;
        if fresh.status() == 429 {
            break json_of(fresh).await;
        }
    };
    assert!(refused >= 10, "{refused}");
    assert!(waits["retry_after_s"].as_u64().is_some_and(|s| (1..=60).contains(&s)), "{waits}");
    answering.json(SINCE, &known).await;
    problem(answering.ask(Method::GET, SINCE), 401).await;
}

#[tokio::test]
async fn token_that_an_administrator_makes_lets_the_receiver_in_and_is_no_operators() {
    let receiver = Receiver::new(200).await;
    let served = Served::new(&receiver).await;
    let root = served.admin_token().await;
    let make = client().post(format!("{}/v1/endpoints/merchant/tokens", served.admin));
    let made = send(make.bearer_auth(&root).header("content-type", "application/json").body("{\"days\": 1}")).await;
    assert_eq!(made.status(), 201);
    let token = json_of(made).await["secret"].as_str().expect("it is told once").to_owned();
    let ask = |token: &str| client().get(format!("{}{SINCE}", served.receivers)).bearer_auth(token);
    assert_eq!(json_of(send(ask(&token)).await).await["endpoint"], "merchant");
    problem(ask(&root), 401).await;
    problem(client().get(format!("{}/v1/messages", served.admin)).bearer_auth(&token), 401).await;
    let revoke = client().post(format!("{}/v1/endpoints/merchant/tokens/revoke", served.admin)).bearer_auth(&root);
    assert_eq!(send(revoke.header("content-type", "application/json").body("{}")).await.status(), 200);
    problem(ask(&token), 401).await;
}

/// A runtime with both ports.
struct Served {
    notified: Notified,
    admin: String,
    receivers: String,
}

impl Served {
    async fn new(receiver: &Receiver) -> Served {
        let ground = Ground::new().await;
        let settings = settings(&receiver.section("merchant", ""));
        let listen = "[admin]\nlisten = \"127.0.0.1:0\"\n[notify]\nlisten = \"127.0.0.1:0\"\n";
        let settings = settings.replace("[notify]\n", listen);
        let avouch = ground.runtime(&settings).await;
        let admin = format!("http://{}", admin::address_of(&avouch).await);
        let receivers = format!("http://{}", address_of(&avouch).await);
        Served { notified: Notified { ground, settings, avouch }, admin, receivers }
    }

    async fn admin_token(&self) -> String {
        let token = new_token();
        let hash = avouch_runtime::access::hash_token(&token).expect("it is one");
        let sql = "insert into avouch.token (hash, name, role) values ($1, 'root', 'admin')";
        self.notified.ground.client.execute(sql, &[&hash.as_slice()]).await.expect("a token can be made");
        token
    }
}

#[tokio::test]
async fn operators_routes_are_not_at_the_receivers_port_nor_theirs_at_the_operators() {
    let receiver = Receiver::new(200).await;
    let served = Served::new(&receiver).await;
    let root = served.admin_token().await;
    for route in avouch_runtime::admin::routes() {
        let path = route.path.replace(['{', '}'], "x");
        let request = client().request(route.method.clone(), format!("{}{path}", served.receivers));
        problem(request.bearer_auth(&root), 404).await;
    }
    let document = avouch_runtime::receivers::openapi();
    for path in document.paths.paths.keys() {
        problem(client().get(format!("{}{}", served.admin, path.replace(['{', '}'], "x"))).bearer_auth(&root), 404)
            .await;
    }
    let described = json_of(send(client().get(format!("{}/v1/notify/openapi.json", served.receivers))).await).await;
    let paths: Vec<_> = described["paths"].as_object().expect("it has paths").keys().cloned().collect();
    let all = ["/v1/notify/messages", "/v1/notify/messages/{id}", "/v1/notify/openapi.json", "/v1/notify/windows"];
    assert_eq!(paths, all);
    for (path, item) in described["paths"].as_object().expect("it has paths") {
        assert!(item["get"]["responses"]["default"].is_object(), "{path} may be a problem");
        assert_eq!(item.as_object().map(serde_json::Map::len), Some(1), "{path} is only asked");
    }
    for reference in described.to_string().split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("it ends");
        assert!(described["components"]["schemas"][name].is_object(), "{name} is not described");
    }
}

#[tokio::test]
async fn nothing_listens_for_receivers_unless_it_is_configured() {
    let receiver = Receiver::new(200).await;
    let notified = Notified::new(&receiver.section("merchant", "")).await;
    assert_eq!(listening(notified.avouch.pid()), 0);
    let nobody = Ground::new().await.runtime("[notify]\nlisten = \"127.0.0.1:0\"\n").await;
    nobody.wait_for_log("set notify.topics", LIMIT).await;
    assert_eq!(listening(nobody.pid()), 0, "nobody is told, so nobody has anything to ask");
    let answering = Answering::new(&receiver.section("merchant", "")).await;
    assert_eq!(listening(answering.notified.avouch.pid()), 1, "this is how one looks");
}

/// How many sockets of a process listen.
fn listening(pid: u32) -> usize {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let targets = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let own: Vec<String> = targets.filter_map(|target| target.to_str().map(str::to_owned)).collect();
    let tables =
        ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    let listening = tables.iter().flat_map(|table| table.lines()).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        (columns.get(3) == Some(&"0A")).then(|| format!("socket:[{}]", columns[9]))
    });
    listening.filter(|socket| own.contains(socket)).count()
}

#[tokio::test]
async fn https_is_served_to_receivers_with_the_configured_certificate() {
    let (authority, receiver) = (Authority::new(), Receiver::new(200).await);
    let certificate = authority.certificate("127.0.0.1");
    let (file, key) = (File::new("server.pem", &certificate.pem), File::new("server.key", &certificate.key));
    let tls = format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n", file.path(), key.path());
    let answering = Answering::with(&tls, &receiver.section("merchant", "")).await;
    let token = answering.token("merchant").await;
    let request = trusting(&authority).get(format!("https://{}{SINCE}", answering.address)).bearer_auth(&token);
    assert_eq!(json_of(send(request).await).await["endpoint"], "merchant");
    assert!(answering.get(SINCE, &token).send().await.is_err(), "nothing is told unencrypted");
}

#[test]
fn wide_bind_needs_tls_or_the_word_that_a_proxy_has_it() {
    let with =
        |more: &str| Config::parse(&format!("[notify]\ntopics = [\"payments.>\"]\n{more}")).map_err(|e| e.to_string());
    for open in ["0.0.0.0:9190", "[::]:9190", "10.0.0.1:9190", "[::ffff:127.0.0.1]:9190"] {
        let refused = with(&format!("listen = \"{open}\"")).expect_err(open);
        assert!(refused.contains("notify.listen") && refused.contains("listen_plain"), "{refused}");
        assert!(with(&format!("listen = \"{open}\"\nlisten_plain = true")).is_ok());
        assert!(with(&format!("listen = \"{open}\"\ntls = {{ certificate = \"x\", key = \"x\" }}")).is_ok());
    }
    assert!(with("listen = \"127.0.0.1:9190\"").is_ok() && with("listen = \"[::1]:9190\"").is_ok());
    assert!(with("asks_per_s = 0").is_err());
}

#[tokio::test]
async fn questions_are_counted_by_the_status_of_their_answers() {
    let (receiver, port) = (Receiver::new(200).await, metrics::free_port());
    let more = format!("{}{}", receiver.section("merchant", ""), metrics::config(port));
    let answering = Answering::new(&more).await;
    let token = answering.token("merchant").await;
    for _ in 0..3 {
        answering.json(SINCE, &token).await;
    }
    problem(answering.ask(Method::GET, SINCE), 401).await;
    until("they are counted", LIMIT, async || {
        let exported = metrics::fetch(port).await?;
        let of = |status: &str| exported.sum("avouch_notify_asks_total", &[("status", status)]);
        (of("200") >= 3.0 && of("401") >= 1.0).then_some(())
    })
    .await;
}
