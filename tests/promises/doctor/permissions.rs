//! Each permission that the pages say the runtime needs is missed by name, and looking for it changes nothing.

use async_nats::ConnectOptions;
use avouch_runtime::dev::nats_server::Options;
use avouch_tests::servers::OwnNats;
use avouch_tests::stream::read_all;

use super::*;
use crate::secure::permissions::{Allowed, runtime};

/// A server with these users beside an administrator, and the administrator.
async fn server(mut entries: Vec<String>) -> (OwnNats, async_nats::jetstream::Context) {
    entries.push("{ user: admin, password: secret }".into());
    let admin = || ConnectOptions::with_user_and_password("admin".into(), "secret".into());
    let extra_config = format!("authorization {{ users: [ {} ] }}\n", entries.join(", "));
    let nats = OwnNats::start_with(Options { extra_config, connect: admin(), ..Options::default() }).await;
    let admin = admin().connect(nats.url()).await.expect("it may do everything");
    (nats, async_nats::jetstream::new(admin))
}

/// Users who lack one each.
fn users(all: &Allowed) -> Vec<(String, String, String)> {
    let mut users = Vec::new();
    for subject in &all.publish {
        let publish = all.publish.iter().filter(|s| *s != subject).cloned().collect();
        let lacking = Allowed { publish, subscribe: all.subscribe.clone() };
        users.push((format!("u{}", users.len()), lacking.permissions(), format!("publish to {subject}")));
    }
    for subject in &all.subscribe {
        let subscribe = all.subscribe.iter().filter(|s| *s != subject).cloned().collect();
        let lacking = Allowed { publish: all.publish.clone(), subscribe };
        users.push((format!("u{}", users.len()), lacking.permissions(), format!("subscribe to {subject}")));
    }
    users
}

#[tokio::test]
async fn each_missing_permission_is_named_and_nothing_is_changed_by_looking() {
    let all = runtime();
    let users = users(&all);
    let entry =
        |name: &str, permissions: &str| format!("{{ user: {name}, password: secret, permissions: {permissions} }}");
    let mut entries: Vec<String> = users.iter().map(|(name, permissions, _)| entry(name, permissions)).collect();
    entries.push(entry("avouch", &all.permissions()));
    let (nats, admin) = server(entries).await;
    let ground = Ground::with(Database::create().await, nats.url(), admin).await;
    let config = |user: &str| {
        format!(
            "[source.main]\nurl = {:?}\n[nats]\nurl = {:?}\nuser = {user:?}\npassword = \"secret\"\n\
             [consumer.billing]\ntopics = [\"orders.>\"]\n[inbox]\nstore = \"kv\"\n\
             [notify]\ntopics = [\"payments.>\"]\n[recovery]\ndead_stream = \"AVOUCH_DEAD\"\n",
            ground.database.url(),
            nats.url()
        )
    };
    let running = Avouch::run(&config("avouch")).await;
    until("the durable is made", LIMIT, async || {
        ground.jetstream.get_stream("AVOUCH").await.ok()?.consumer_info("billing").await.ok()
    })
    .await;
    ground.insert("orders.created", 1, 0, 20).await;
    ground.drained().await;
    assert_eq!(
        Findings::of(&config("avouch")).await.checks("problem"),
        BTreeSet::new(),
        "what is documented is enough"
    );
    for (user, _, lacks) in users {
        let findings = Findings::of(&config(&user)).await;
        let told: Vec<_> = findings.0.iter().filter(|f| f["check"] == "permission").map(|f| &f["object"]).collect();
        assert_eq!(told, [&lacks], "{:#?}", findings.0);
    }
    let stored = read_all(&ground.jetstream, "AVOUCH").await;
    assert_eq!(stored.len(), 20, "nothing came, and nothing was purged");
    assert!(!running.has_ended());
}

#[tokio::test]
async fn streams_that_may_not_be_asked_about_are_told_to_be_unknown() {
    let deny = "{ user: looker, password: secret, permissions: { publish: { deny: [\"$JS.API.STREAM.NAMES\"] } } }";
    let (nats, admin) = server(vec![deny.to_owned()]).await;
    let other = StreamConfig { name: "OTHER".into(), subjects: vec!["msg.>".into()], ..StreamConfig::default() };
    admin.create_stream(other).await.expect("it can be made");
    let ground = Ground::with(Database::create().await, nats.url(), admin).await;
    let findings = async |user: &str| {
        let source = format!("[source.main]\nurl = {:?}\n", ground.database.url());
        Findings::of(&format!("{source}[nats]\nurl = {:?}\nuser = {user:?}\npassword = \"secret\"\n", nats.url())).await
    };
    let known = findings("admin").await;
    known.names("stream", "OTHER takes its subjects msg.>", "name that stream in the file");
    assert!(!known.checks("warning").contains("overlap"), "{:#?}", known.0);
    let unknown = findings("looker").await;
    unknown.names("overlap", "whether another stream takes msg.> is not known: the login may not ask", "STREAM.NAMES");
    unknown.names("permission_to_look", "STREAM.NAMES", "allow avouch doctor to publish");
}
