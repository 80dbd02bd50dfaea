//! Alarms reach every sink once: a command, a webhook, a mail server. A sink that hangs, fails or is wrong holds up nobody.

mod sinks;

use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use self::sinks::{FileSink, Server};
use crate::cli::avouch;
use crate::control::{Desk, payment};
use crate::ground::Ground;
use crate::hostile::guest::Guest;
use crate::hostile::running::{committed, deploy, prepare};
use crate::schema::File;

/// Is written nowhere but where it belongs.
const SECRET: &str = "hunter2-never-shown";
/// The plugin `guest` says unknown: the answer is ok, 3, none.
const UNKNOWN: &str = "(i32.store8 (i32.const 1028) (i32.const 3)) (i32.const 1024)";
/// One unknown is enough.
const AT_ONCE: &str = "[checkback]\npoll_max_ms = 100\nunknowns_max = 1\n";

fn web_sink(name: &str, port: u16) -> String {
    format!("[[alarm]]\nname = \"{name}\"\nwebhook = {{ url = \"http://127.0.0.1:{port}/hook?token={SECRET}\" }}\n")
}

/// A producer that says commit after its transaction was rolled back.
async fn contradict(desk: &Desk) -> Uuid {
    let id = Uuid::now_v7();
    desk.ask("tx.prepare", payment(id)).await;
    let sql = "select avouch.settle(array[$1::uuid], 'rollback', 'checker', array['no payment'])";
    desk.ground.client.query_one(sql, &[&id]).await.expect("it settles");
    assert_eq!(desk.ask("tx.commit", json!({ "id": id })).await["state"], "in_doubt");
    id
}

async fn first(file: &FileSink, kind: &str) -> Value {
    let what = format!("the command to get {kind}");
    until(&what, secs(30), async || file.alarms().into_iter().find(|alarm| alarm["kind"] == kind)).await
}

fn logged(avouch: &Avouch, kind: &str) -> usize {
    avouch.log().matches(&format!("\"alarm\":\"{kind}\"")).count()
}

#[tokio::test]
async fn transaction_in_doubt_is_told_once_by_every_sink() {
    let ground = Ground::new().await;
    let (file, web, mail) = (FileSink::new(), Server::web(&["204 No Content"]).await, Server::mail().await);
    let password = File::new("password", &format!("{SECRET}\n"));
    let header = File::new("header", &format!("Bearer {SECRET}"));
    let text = format!(
        "{AT_ONCE}[log]\nfilter = \"trace\"\n{}\
         [[alarm]]\nwebhook = {{ url = \"http://127.0.0.1:{}/hook?token={SECRET}\", headers = {{ authorization = \"file:{}\" }} }}\n\
         [[alarm]]\n[alarm.smtp]\nserver = \"127.0.0.1\"\nport = {}\ntls = \"off\"\nfrom = \"avouch@shop.test\"\n\
         to = [\"oncall@shop.test\", \"ops@shop.test\"]\nuser = \"avouch\"\npassword = \"file:{}\"\n",
        file.config(),
        web.port,
        header.path(),
        mail.port,
        password.path()
    );
    let config = File::new("avouch.toml", &format!("instance_name = \"here\"\n{}", ground.config(&text)));
    deploy(&config, Guest::checking(UNKNOWN).named("puzzled")).await.succeeds();
    let mut running = Avouch::start(&["run", "--config", config.path()]).await;
    running.wait_for_log("avouch runs", secs(30)).await;
    let sql = "select avouch.prepare('puzzled', '0 s', 'payment-42')";
    let id: Uuid = ground.client.query_one(sql, &[]).await.expect("a transaction may be prepared").get(0);

    let alarm = first(&file, "in_doubt").await;
    let said = until("the webhook to have it", secs(30), async || web.taken().into_iter().next()).await;
    let sent = until("the mail to have arrived", secs(30), async || mail.taken().into_iter().next()).await;
    let told: Value = serde_json::from_str(&said.body).expect("it is JSON");
    assert_eq!(alarm, told, "all of them are told the same");
    assert_eq!(
        (&alarm["source"], &alarm["subject"], &alarm["ref"]),
        (&json!("main"), &json!("puzzled"), &json!("payment-42"))
    );
    assert_eq!((&alarm["id"], &alarm["count"], &alarm["instance"]), (&json!(id), &json!(1), &json!("here")));
    assert!(alarm["why"].as_str().is_some_and(|why| why.contains("unknowns_max")), "{alarm}");
    assert!(alarm["remedy"].as_str().is_some_and(|r| r.starts_with(&format!("avouch tx commit {id}"))), "{alarm}");
    assert_eq!(alarm["since"], alarm["at"]);

    assert!(said.said.starts_with(&format!("POST /hook?token={SECRET} HTTP/1.1")), "{}", said.said);
    assert!(said.said.contains("application/json") && said.said.contains(&format!("Bearer {SECRET}")), "{}", said.said);
    assert!(
        sent.said.contains("RCPT TO:<oncall@shop.test>") && sent.said.contains("RCPT TO:<ops@shop.test>"),
        "{sent:?}"
    );
    let login = data_encoding::BASE64.encode(format!("\0avouch\0{SECRET}").as_bytes());
    assert!(sent.said.contains(&format!("AUTH PLAIN {login}")), "{sent:?}");
    assert!(sent.body.contains("Subject: [avouch] in_doubt puzzled\r\n"), "{sent:?}");
    assert!(sent.body.contains(&format!("avouch tx commit {id}")), "{sent:?}");
    let env = file.env();
    for line in ["KIND=in_doubt", "SOURCE=main", "SUBJECT=puzzled", "COUNT=1", &format!("ID={id}")] {
        assert!(env.contains(&format!("AVOUCH_ALARM_{line}\n")), "{env}");
    }
    let own = |name: &&str| {
        !["PATH", "HOME", "PWD", "SHLVL", "_", "OLDPWD"].contains(name) && !name.starts_with("AVOUCH_ALARM_")
    };
    assert_eq!(
        env.lines().filter_map(|line| line.split('=').next()).find(own),
        None,
        "the shell itself adds the others"
    );

    assert!(running.terminate(secs(30)).await.success());
    assert_eq!(
        (file.alarms().len(), web.taken().len(), mail.taken().len(), logged(&running, "in_doubt")),
        (1, 1, 1, 1)
    );
    let checked = avouch(&["config", "check", "--config", config.path()], &[]).await.succeeds();
    let checked = checked.says("alarm webhook: webhook, takes everything").says(&format!("file:{}", password.path()));
    assert!(!running.log().contains(SECRET) && !checked.text.contains(SECRET), "secrets are never printed");
    assert!(!running.log().contains(&login));
}

#[tokio::test]
async fn contradiction_in_sql_is_told_once_by_one_of_two_instances() {
    let ground = Ground::new().await;
    let file = FileSink::new();
    let more = format!("[checkback]\npoll_max_ms = 100\n{}", file.config());
    let running = [ground.runtime(&more).await, ground.runtime(&more).await];
    let sql = "select avouch.prepare('transfer', '1 hour', 'transfer-7')";
    let id: Uuid = ground.client.query_one(sql, &[]).await.expect("it may").get(0);
    for sql in [
        "select avouch.settle(array[$1::uuid], 'rollback', 'checker', array['x'])",
        "select avouch.report($1, 'commit')",
    ] {
        ground.client.query_one(sql, &[&id]).await.expect("it may");
    }
    let alarm = first(&file, "in_doubt").await;
    assert_eq!((&alarm["id"], &alarm["ref"]), (&json!(id), &json!("transfer-7")));
    assert!(alarm["why"].as_str().is_some_and(|why| why.contains("the producer says commit")), "{alarm}");
    tokio::time::sleep(secs(1)).await;
    assert_eq!(running.iter().map(|r| logged(r, "in_doubt")).sum::<usize>(), 1);
    // Decided and in doubt again: that is news.
    for sql in [
        "select avouch.settle(array[$1::uuid], 'rollback', 'operator', array['x'])",
        "select avouch.report($1, 'commit')",
    ] {
        ground.client.query_one(sql, &[&id]).await.expect("it may");
    }
    until("it to be told again", secs(30), async || {
        (running.iter().map(|r| logged(r, "in_doubt")).sum::<usize>() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn equal_alarms_are_held_back_counted_and_told_at_the_end() {
    let desk = Desk::new().await;
    let (file, quick) = (FileSink::new(), FileSink::new());
    let often = quick.config().replace("\"file\"", "\"quick\"\nrepeat_ms = 1000");
    let mut avouch = desk.runtime(&(file.config() + &often)).await;
    let mut last = contradict(&desk).await;
    first(&file, "in_doubt").await;
    first(&quick, "in_doubt").await;
    for _ in 0..3 {
        last = contradict(&desk).await;
    }
    let counts = |sink: &FileSink| sink.alarms().iter().filter_map(|alarm| alarm["count"].as_i64()).collect::<Vec<_>>();
    until("the quick one to be told of all", secs(30), async || {
        (counts(&quick).iter().sum::<i64>() == 4).then_some(())
    })
    .await;
    assert_eq!(counts(&file), [1], "its time has not come");
    assert!(avouch.terminate(secs(30)).await.success());
    assert_eq!(counts(&file), [1, 3]);
    let told = &file.alarms()[1];
    assert_eq!((&told["id"], told["since"].as_str() < told["at"].as_str()), (&json!(last), true), "{told}");
    assert_eq!(logged(&avouch, "in_doubt"), 4, "the log has every one");
}

#[tokio::test]
async fn sinks_take_the_kinds_that_they_name() {
    let ground = Ground::new().await;
    let (all, some) = (FileSink::new(), FileSink::new());
    let picky = some.config().replace("\"file\"", "\"some\"\nkinds = [\"dead\", \"plugin_refused\"]");
    let text = ground.config(&format!("[topic.known]\n{}{picky}", all.config()));
    let avouch = Avouch::run(&format!("strict_topics = true\n{text}")).await;
    avouch.wait_for_log("avouch runs", secs(30)).await;
    ground.insert("unknown", 1, 0, 1).await;
    let dead = first(&all, "dead").await;
    assert_eq!((&dead["subject"], &dead["count"]), (&json!("unknown"), &json!(1)));
    assert!(dead["remedy"].as_str().is_some_and(|text| text.starts_with("avouch resend ")), "{dead}");
    for _ in 0..8 {
        prepare(&ground, "nobody").await;
    }
    let broken = first(&all, "checker_broken").await;
    assert_eq!(broken["subject"], "nobody");
    let forged = "insert into avouch.plugin (name, digest, version, file) values ('forged', repeat('0', 64), '2', 'x'); \
        insert into avouch.deployment (name, digest, grants) values ('forged', repeat('0', 64), '{}')";
    ground.client.batch_execute(forged).await.expect("the superuser may");
    let refused = first(&some, "plugin_refused").await;
    assert_eq!((&refused["subject"], &refused["id"]), (&json!("forged"), &json!("0".repeat(64))));
    first(&all, "plugin_refused").await;
    first(&some, "dead").await;
    assert!(some.alarms().iter().all(|alarm| alarm["kind"] != "checker_broken"), "{:?}", some.alarms());
}

#[tokio::test]
async fn webhook_that_fails_at_first_gets_its_alarm_and_redirects_are_not_followed() {
    let desk = Desk::new().await;
    let shaky = Server::web(&["503 Service Unavailable", "429 Too Many Requests", "200 OK"]).await;
    let moved = Server::web(&["307 Temporary Redirect"]).await;
    let avouch = desk.runtime(&(web_sink("shaky", shaky.port) + &web_sink("moved", moved.port))).await;
    let id = contradict(&desk).await;
    until("it to come for the third time", secs(30), async || (shaky.taken().len() == 3).then_some(())).await;
    for taken in shaky.taken() {
        let alarm: Value = serde_json::from_str(&taken.body).expect("it is JSON");
        assert_eq!((&alarm["kind"], &alarm["id"]), (&json!("in_doubt"), &json!(id)));
    }
    let line = avouch.wait_for_log("an alarm could not be delivered", secs(30)).await;
    assert!(line.contains("\"sink\":\"moved\"") && line.contains("307") && line.contains("\"tries\":1"), "{line}");
    assert_eq!((moved.taken().len(), shaky.taken().len()), (1, 3), "what has arrived is not sent again");
    assert!(!avouch.log().contains(SECRET), "the address may hold a token");
}

#[tokio::test]
async fn hanging_sink_delays_neither_the_others_nor_check_back_nor_the_relay() {
    let ground = Ground::new().await;
    let file = FileSink::new();
    // Accepts and never answers; and a program that never ends, nor does what it starts.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let pids = File::new("pids", "");
    let hanging = format!(
        "{}[[alarm]]\nname = \"endless\"\ncommand = [\"sh\", \"-c\", \"sleep 600 & echo $! >> {}; sleep 600\"]\ntimeout_ms = 300\n",
        web_sink("hanging", listener.local_addr().expect("it is bound").port()),
        pids.path()
    );
    let config = File::new("avouch.toml", &ground.config(&format!("{AT_ONCE}{hanging}{}", file.config())));
    deploy(&config, Guest::checking(UNKNOWN).named("puzzled")).await.succeeds();
    deploy(&config, Guest::good().named("good")).await.succeeds();
    let mut avouch = Avouch::start(&["run", "--config", config.path()]).await;
    avouch.wait_for_log("avouch runs", secs(30)).await;
    for _ in 0..20 {
        prepare(&ground, "puzzled").await;
    }
    let (_held, _) = tokio::time::timeout(secs(30), listener.accept()).await.expect("it comes").expect("it works");
    first(&file, "in_doubt").await;
    committed(&ground, prepare(&ground, "good").await).await;
    ground.insert("t", 3, 0, 30).await;
    ground.drained().await;
    until("the program to have been killed", secs(30), async || {
        let text = std::fs::read_to_string(pids.path()).ok()?;
        let pid: i32 = text.lines().next()?.parse().ok()?;
        is_gone(pid).then_some(())
    })
    .await;
    assert!(avouch.terminate(secs(15)).await.success(), "nor do they hold up the end");
    assert!(avouch.log().contains("not all alarms could be delivered before the end"));
}

/// Nobody may have waited for it yet.
fn is_gone(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |text| text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

#[tokio::test]
async fn alarm_test_says_what_became_of_it_at_each_sink() {
    let (file, wrong) = (FileSink::new(), Server::web(&["404 Not Found"]).await);
    let config = File::new("avouch.toml", &(file.config() + &web_sink("wrong", wrong.port)));
    let test = async |more: &[&str]| {
        let args = [&["alarm", "test"], more, &["--config", config.path()]].concat();
        // As if a command called it.
        avouch(&args, &[("AVOUCH_ALARM_KIND", "in_doubt")]).await
    };
    let told = test(&[]).await.fails_with(1).says("file (command) took it").says("wrong (webhook) FAILED").says("404");
    assert!(!told.text.contains(SECRET), "{}", told.text);
    test(&["file"]).await.succeeds().says("file (command) took it");
    test(&["pager"]).await.fails_with(1).says("there is no sink pager: there are file, wrong");
    assert_eq!(file.alarms().iter().map(|alarm| alarm["kind"].clone()).collect::<Vec<_>>(), ["test", "test"]);
    let none = File::new("avouch.toml", "");
    avouch(&["alarm", "test", "--config", none.path()], &[]).await.fails_with(1).says("add [[alarm]]");
}

#[tokio::test]
async fn sinks_that_cannot_be_used_are_refused_with_the_remedy() {
    let smtp = "server = \"mail.test\", from = \"a@shop.test\"";
    let refused = [
        ("webhook = { url = \"http://pager.test/x\" }".to_owned(), "allow_http"),
        ("webhook = { url = \"env:NO_SUCH_URL\" }".to_owned(), "NO_SUCH_URL"),
        (format!("webhook = {{ url = \"{SECRET}\" }}"), "write https://host/path"),
        (format!("smtp = {{ {smtp}, to = [] }}"), "name a receiver"),
        (format!("smtp = {{ {smtp}, to = [\"nobody\"] }}"), "nobody"),
        (format!("smtp = {{ {smtp}, to = [\"b@shop.test\"], user = \"u\" }}"), "belong together"),
        (
            format!(
                "smtp = {{ {smtp}, to = [\"b@shop.test\"], tls = \"off\", user = \"u\", password = \"{SECRET}\" }}"
            ),
            "unencrypted",
        ),
        ("command = [\"page\"]\nkinds = [\"doubt\"]".to_owned(), "in_doubt"),
        ("command = [\"page\"]\nwebhook = { url = \"https://x\" }".to_owned(), "exactly one"),
        ("kinds = [\"dead\"]".to_owned(), "exactly one"),
    ];
    for (sink, remedy) in refused {
        let file = File::new("avouch.toml", &format!("[[alarm]]\n{sink}\n"));
        let told = avouch(&["config", "check", "--config", file.path()], &[]).await.fails_with(1).says(remedy);
        assert!(!told.text.contains(SECRET) && told.text.contains("alarm"), "{}", told.text);
    }
}
