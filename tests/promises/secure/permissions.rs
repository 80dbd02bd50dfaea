//! What the pages say that NATS must allow is enough, for the runtime and for a consumer.

use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::PullConsumer;
use avouch_runtime::dev::nats_server::Options;
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::OwnNats;
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt;

/// The subjects of the first block after these words, published and subscribed.
fn listed(page: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(&path).expect("the page is there");
    let block = text.split(after).nth(1).and_then(|t| t.split("```text").nth(1)).and_then(|t| t.split("```").next());
    let (mut publish, mut subscribe, mut is_subscribe) = (Vec::new(), Vec::new(), false);
    for line in block.expect("a block follows").lines() {
        is_subscribe |= line.starts_with("subscribe:");
        let rest = line.trim_start_matches("publish:").trim_start_matches("subscribe:").trim();
        let Some(subject) = rest.split_whitespace().next() else { continue };
        if is_subscribe { &mut subscribe } else { &mut publish }.push(subject.to_owned());
    }
    (publish, subscribe)
}

fn user(name: &str, (publish, subscribe): (Vec<String>, Vec<String>)) -> String {
    format!(
        "{{ user: {name}, password: secret, permissions: {{ publish: {publish:?}, subscribe: {subscribe:?}, allow_responses: true }} }}"
    )
}

#[tokio::test]
async fn documented_permissions_are_enough_for_the_runtime_and_for_a_consumer() {
    let runtime = listed("docs/operating.md", "In NATS, the user of the runtime needs these");
    let consumer = listed("docs/consumers.md", "A consumer needs these, and no more:");
    let users = ["{ user: admin, password: secret }".to_owned(), user("avouch", runtime), user("billing", consumer)];
    let connect = ConnectOptions::with_user_and_password("admin".into(), "secret".into());
    let extra_config = format!("authorization {{ users: [ {} ] }}\n", users.join(", "));
    let nats = OwnNats::start_with(Options { extra_config, connect: connect.clone(), ..Options::default() }).await;
    let database = Database::create().await;
    let avouch = Avouch::run(&format!(
        "[source.main]\nurl = {:?}\n[nats]\nurl = {:?}\nuser = \"avouch\"\npassword = \"secret\"\n\
         [consumer.billing]\ntopics = [\"orders.>\"]\ndeadline_ms = 300\n[receipts]\nevery_ms = 100\n[recovery]\nevery_ms = 50\n",
        database.url(),
        nats.url()
    ))
    .await;
    let login = ConnectOptions::with_user_and_password("billing".into(), "secret".into());
    let client = login.connect(nats.url()).await.expect("it may connect");
    let admin = async_nats::jetstream::new(connect.connect(nats.url()).await.expect("it may connect"));
    let next = async || {
        let durable: PullConsumer = until("the durable is made", secs(30), async || {
            admin.get_stream("AVOUCH").await.ok()?.get_consumer("billing").await.ok()
        })
        .await;
        drop(durable);
        // As a client that binds without looking.
        let pulled = until("a message comes", secs(30), async || {
            let inbox = client.new_inbox();
            let mut answers = client.subscribe(inbox.clone()).await.ok()?;
            let pull = "{\"batch\":1,\"expires\":1000000000}";
            client.publish_with_reply("$JS.API.CONSUMER.MSG.NEXT.AVOUCH.billing", inbox, pull.into()).await.ok()?;
            answers.next().await.filter(|m| m.reply.is_some())
        });
        pulled.await
    };
    let rows = database.client().await;
    let state = async |wanted: &str| {
        until(wanted, secs(30), async || {
            let sql = "select from avouch.outbox where state = $1";
            rows.query_opt(sql, &[&wanted]).await.expect("is valid").map(drop)
        })
        .await;
    };
    rows.execute("insert into avouch.outbox (topic, payload) values ('orders.created', '{}')", &[])
        .await
        .expect("is valid");
    state("sent").await;
    // Lost, so that it is sent again.
    admin.get_stream("AVOUCH").await.expect("it was made").purge().await.expect("admins may");
    let message = next().await;
    assert!(message.subject.starts_with("redo.billing."), "{}", message.subject);
    client.publish(message.reply.expect("it has one"), "+ACK".into()).await.expect("it may");
    state("consumed").await;
    assert!(!avouch.log().contains("ermissions"), "{}", avouch.log());
}
