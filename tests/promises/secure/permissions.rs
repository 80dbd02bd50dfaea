//! What the pages say that each party needs is enough, in Postgres and in NATS: the whole way of messages is gone with exactly that.

use async_nats::jetstream::Context;
use async_nats::{Client as Nats, ConnectOptions, Message};
use avouch_runtime::dev::nats_server::Options;
use avouch_tests::plugins;
use avouch_tests::process::Avouch;
use avouch_tests::servers::{OwnNats, OwnPostgres, Sync};
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::cli::avouch;
use crate::docs::{blocks, read};
use crate::notify::Receiver;
use crate::producers::connect;
use crate::relayed::LIMIT;
use crate::schema::File;

/// Subjects that a page lists.
pub struct Allowed {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
}

impl Allowed {
    /// The first block after these words.
    fn listed(page: &str, after: &str) -> Allowed {
        let text = read(page);
        let rest = text.split(after).nth(1).unwrap_or_else(|| panic!("{page} does not say {after:?}"));
        let block = blocks(rest, "text").into_iter().next().expect("a block follows");
        let (mut publish, mut subscribe, mut is_subscribe) = (Vec::new(), Vec::new(), false);
        for line in block.lines() {
            is_subscribe |= line.starts_with("subscribe:");
            let rest = line.trim_start_matches("publish:").trim_start_matches("subscribe:").trim();
            let Some(subject) = rest.split_whitespace().next() else { continue };
            if is_subscribe { &mut subscribe } else { &mut publish }.push(subject.to_owned());
        }
        Allowed { publish, subscribe }
    }

    /// As nats-server's configuration says it.
    pub fn permissions(&self) -> String {
        let Allowed { publish, subscribe } = self;
        format!("{{ publish: {publish:?}, subscribe: {subscribe:?}, allow_responses: true }}")
    }
}

/// What the runtime needs.
pub fn runtime() -> Allowed {
    Allowed::listed("docs/permissions.md", "the user of the runtime needs these")
}

/// What a consumer needs.
fn consumer() -> Allowed {
    Allowed::listed("docs/consumers.md", "A consumer needs these, and no more")
}

/// What a producer without the database needs.
fn producer() -> Allowed {
    Allowed::listed("docs/permissions.md", "over NATS instead of Postgres needs these")
}

const SHOP: &str = "create table orders (id bigint primary key, status text not null); create table invoices (order_id bigint); \
                    create schema shop; alter table orders set schema shop; grant usage on schema shop to order_check, order_service; \
                    grant select on shop.orders to order_check; grant insert on shop.orders to order_service; \
                    grant insert on invoices to billing_service";

/// A database that was installed by the role that the page names, with the roles that it makes.
async fn postgres(server: &OwnPostgres) {
    let blocks = blocks(&read("docs/permissions.md"), "sql");
    let [owner, others] = &blocks[..] else { panic!("the page has two blocks of SQL") };
    let admin = connect(&server.url("postgres")).await;
    admin.batch_execute(owner).await.expect("a superuser may");
    admin
        .batch_execute("create database shop owner shop_owner encoding 'UTF8' template template0")
        .await
        .expect("a superuser may");
    let url = url(server, "shop_owner");
    avouch(&["schema", "install", "--database-url", &url], &[]).await.succeeds();
    let owner = connect(&url).await;
    owner.batch_execute(others).await.expect("the owner may make roles");
    owner.batch_execute(SHOP).await.expect("the owner may make tables");
}

fn url(server: &OwnPostgres, role: &str) -> String {
    server.url("shop").replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
}

/// A server with the users of the pages, and an administrator.
async fn nats() -> (OwnNats, Context) {
    let user = |name: &str, allowed: Allowed| {
        format!("{{ user: {name}, password: secret, permissions: {} }}", allowed.permissions())
    };
    let users = [
        "{ user: admin, password: secret }".to_owned(),
        user("avouch", runtime()),
        user("billing", consumer()),
        user("checkout", producer()),
    ];
    let admin = || ConnectOptions::with_user_and_password("admin".into(), "secret".into());
    let extra_config = format!("authorization {{ users: [ {} ] }}\n", users.join(", "));
    let nats = OwnNats::start_with(Options { extra_config, connect: admin(), ..Options::default() }).await;
    let context = async_nats::jetstream::new(admin().connect(nats.url()).await.expect("it may connect"));
    (nats, context)
}

/// As a client that binds without looking.
async fn next(billing: &Nats) -> Message {
    until("a message comes", LIMIT, async || {
        let inbox = billing.new_inbox();
        let mut answers = billing.subscribe(inbox.clone()).await.ok()?;
        let pull = "{\"batch\":1,\"expires\":1000000000}";
        billing.publish_with_reply("$JS.API.CONSUMER.MSG.NEXT.AVOUCH.billing", inbox, pull.into()).await.ok()?;
        answers.next().await.filter(|m| m.reply.is_some())
    })
    .await
}

async fn in_state(rows: &Client, topic: &str, wanted: &str) {
    until(&format!("{topic} is {wanted}"), secs(60), async || {
        let sql = "select from avouch.outbox where topic = $1 and state = $2";
        rows.query_opt(sql, &[&topic, &wanted]).await.expect("is valid").map(drop)
    })
    .await;
}

async fn login(nats: &OwnNats, user: &str) -> Nats {
    let options = ConnectOptions::with_user_and_password(user.into(), "secret".into());
    options.connect(nats.url()).await.expect("it may connect")
}

async fn insert(producer: &Client, topic: &str) {
    let sql = format!("insert into avouch.outbox (topic, payload) values ('{topic}', '{{}}')");
    producer.batch_execute(&sql).await.expect("a producer may");
}

/// Takes a message, makes its effect once, and acknowledges it.
async fn invoice(server: &OwnPostgres, billing: &Nats) -> String {
    let message = next(billing).await;
    let id = message.headers.as_ref().and_then(|h| h.get("Avouch-Id")).expect("it has one").to_string();
    let client = connect(&url(server, "billing_service")).await;
    let effect = format!("begin; select avouch.inbox_once('billing', '{id}'); insert into invoices values (1); commit");
    client.batch_execute(&effect).await.expect("a consumer may");
    billing.publish(message.reply.expect("it has one"), "+ACK".into()).await.expect("it may");
    message.subject.to_string()
}

/// Asks before it acts, over NATS, and acknowledges.
async fn ask(billing: &Nats) {
    let message = next(billing).await;
    let headers = message.headers.clone().expect("it has some");
    let asked = billing.request_with_headers("avouch.v1.inbox.begin.billing", headers, message.payload.clone()).await;
    let run: Value = serde_json::from_slice(&asked.expect("it is answered").payload).expect("an answer is JSON");
    assert_eq!(run["decision"], "run", "{run}");
    let done = json!({ "key": run["key"], "token": run["token"] });
    let told = request(billing, "avouch.v1.inbox.complete.billing", done).await;
    assert_eq!(told["decision"], "done", "{told}");
    billing.publish(message.reply.expect("it has one"), "+ACK".into()).await.expect("it may");
}

/// As a service that has no database: a transaction, its outcome, and how far its message is.
async fn check_out(checkout: &Nats, rows: &Client) {
    let id = Uuid::now_v7();
    let prepare = json!({
        "id": id, "checker": "order-check", "check_after_ms": 60_000, "ref": "43", "messages": [{ "topic": "orders.paid", "payload": {} }]
    });
    assert_eq!(request(checkout, "avouch.v1.tx.prepare", prepare).await["state"], "prepared");
    assert_eq!(request(checkout, "avouch.v1.tx.commit", json!({ "id": id })).await["state"], "committed");
    assert_eq!(request(checkout, "avouch.v1.tx.status", json!({ "id": id })).await["state"], "committed");
    let message: Uuid =
        rows.query_one("select id from avouch.outbox where tx_id = $1", &[&id]).await.expect("it has a message").get(0);
    let told = request(checkout, "avouch.v1.message.get", json!({ "id": message })).await;
    assert_eq!(told["topic"], "orders.paid", "{told}");
}

async fn request(nats: &Nats, subject: &'static str, body: Value) -> Value {
    let answer = nats.request(subject, body.to_string().into()).await;
    let told: Value = serde_json::from_slice(&answer.expect("it is answered").payload).expect("an answer is JSON");
    assert!(told.get("error").is_none(), "{subject}: {told}");
    told
}

/// What consumers, producers over NATS, programs that read dead letters and outside parties make use of.
fn everything(server: &OwnPostgres, nats: &OwnNats, receiver: &Receiver) -> String {
    let cache = avouch_tests::scratch::profile_dir().join("plugin-cache");
    format!(
        "[source.main]\nurl = {:?}\n[nats]\nurl = {:?}\nuser = \"avouch\"\npassword = \"secret\"\n\
         [stream.AVOUCH]\nmax_messages = 5\n[upkeep]\nevery_ms = 100\n[inbox]\nstore = \"kv\"\n\
         [consumer.billing]\ntopics = [\"orders.>\"]\ndeadline_ms = 300\n[receipts]\nevery_ms = 100\n\
         [recovery]\nevery_ms = 50\ndead_stream = \"AVOUCH_DEAD\"\n\
         [binding.sql.orders]\nurl = {:?}\n[rules]\ncache_dir = {cache:?}\n[checkback]\npoll_max_ms = 100\n\
         [checker.order-check]\nrollback_after_ms = 0\n\
         [notify]\ntopics = [\"payments.>\"]\nallow = [\"127.0.0.1\"]\nallow_http = true\n{}",
        url(server, "avouch_relay"),
        nats.url(),
        url(server, "order_check"),
        receiver.section("merchant", ""),
    )
}

#[tokio::test]
async fn documented_permissions_are_enough_for_everybody() {
    let server = OwnPostgres::start(Sync::Off).await;
    let (nats, admin) = nats().await;
    postgres(&server).await;
    let rows = connect(&server.url("shop")).await;
    let receiver = Receiver::new(200).await;
    let config = everything(&server, &nats, &receiver);
    let file = File::new("avouch.toml", &config);
    let wasm = plugins::file("order-check");
    let deploy = ["plugin", "deploy", wasm.to_str().expect("UTF-8"), "--grant", "sql:orders", "--config", file.path()];
    avouch(&deploy, &[]).await.succeeds();
    let running = Avouch::run(&config).await;
    until("the durable is made", LIMIT, async || {
        admin.get_stream("AVOUCH").await.ok()?.consumer_info("billing").await.ok()
    })
    .await;
    let producer = connect(&url(&server, "order_service")).await;
    let (billing, checkout) = (login(&nats, "billing").await, login(&nats, "checkout").await);

    insert(&producer, "orders.created").await;
    in_state(&rows, "orders.created", "sent").await;
    // Lost, so that it is sent again.
    admin.get_stream("AVOUCH").await.expect("it was made").purge().await.expect("admins may");
    let subject = invoice(&server, &billing).await;
    assert!(subject.starts_with("redo.billing."), "{subject}");
    in_state(&rows, "orders.created", "consumed").await;

    // In doubt, until its plugin has found the order.
    let prepare = "insert into shop.orders values (42, 'placed'); \
                   insert into avouch.outbox (tx_id, topic, payload) \
                   values (avouch.prepare('order-check', '0 s', '42'), 'orders.placed', '{\"id\":42}')";
    producer.batch_execute(prepare).await.expect("a producer may");
    invoice(&server, &billing).await;
    in_state(&rows, "orders.placed", "consumed").await;

    insert(&producer, "orders.asked").await;
    ask(&billing).await;
    in_state(&rows, "orders.asked", "consumed").await;
    check_out(&checkout, &rows).await;
    invoice(&server, &billing).await;
    in_state(&rows, "orders.paid", "consumed").await;

    // Dead for its consumer, so that programs get a copy.
    insert(&producer, "orders.odd").await;
    let odd = next(&billing).await.reply.expect("it has one");
    billing.publish(odd, "+TERM".into()).await.expect("it may");
    in_state(&rows, "orders.odd", "dead").await;
    until("the dead letter is copied", secs(60), async || {
        let mut letters = admin.get_stream("AVOUCH_DEAD").await.ok()?;
        (letters.info().await.ok()?.state.messages == 1).then_some(())
    })
    .await;

    // An outside party is told.
    insert(&producer, "payments.settled").await;
    in_state(&rows, "payments.settled", "consumed").await;
    until("the merchant is told", secs(60), async || (receiver.web.asked().len() == 1).then_some(())).await;

    let dashboards = url(&server, "dashboards");
    avouch(&["status", "--database-url", &dashboards], &[]).await.succeeds();
    avouch(&["dead", "--database-url", &dashboards], &[]).await.succeeds();
    for command in [["pause", "topic", "orders.created"], ["resume", "topic", "orders.created"]] {
        avouch(&[&command[..], &["--config", file.path()]].concat(), &[]).await.succeeds();
    }
    running.wait_for_log("purged settled messages", LIMIT).await;
    assert!(!running.log().contains("ermission"), "{}", running.log());
}
