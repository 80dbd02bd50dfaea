//! A receiver with rules of its own: a plugin says what it is sent, and what its answer means.

use std::sync::Arc;
use std::sync::Mutex;

use avouch_tests::plugins;
use avouch_tests::wait::until;
use avouch_tests::web::{Web, reply};

use super::{LIMIT, Notified, SECRET};
use crate::cli::avouch;
use crate::schema::File;

/// A receiver that says this.
async fn says(status: u16, body: &'static str) -> (Web, Arc<Mutex<(u16, &'static str)>>) {
    let word = Arc::new(Mutex::new((status, body)));
    let said = Arc::clone(&word);
    let web = Web::start(move |_, socket| {
        let (status, body) = *said.lock().expect("nobody panics");
        reply(socket, status, String::new(), body.as_bytes().to_vec())
    })
    .await;
    (web, word)
}

/// More tries than any test lets pass.
fn section(web: &Web, name: &str) -> String {
    let schedule = [3_600; 50];
    format!(
        "[endpoint.{name}]\nurl = \"{}/notify\"\ntopics = [\"payments.>\"]\nsecrets = [\"{SECRET}\"]\nplugin = \"form-notify\"\n\
         schedule_s = {schedule:?}\njitter_percent = 0\n",
        web.origin()
    )
}

async fn deploy(notified: &Notified) {
    let file = File::new("avouch.toml", &notified.ground.config(&notified.settings));
    let wasm = plugins::file("form-notify");
    let wasm = wasm.to_str().expect("UTF-8");
    let settings = ["--set", "fields=trade_no=/id total=/amount", "--set", "path=/paid"];
    let command = [&["plugin", "deploy", wasm, "--config", file.path()][..], &settings].concat();
    avouch(&command, &[]).await.succeeds();
}

#[tokio::test]
async fn plugin_shapes_the_request_and_reads_the_answer() {
    let ((takes, _), (not_yet, word), (rejects, _)) =
        (says(200, "success\n").await, says(200, "busy").await, says(400, "reject").await);
    let sections = [section(&takes, "takes"), section(&not_yet, "later"), section(&rejects, "rejects")].concat();
    let notified = Notified::new(&sections).await;
    let message = notified.insert("1", "{\"id\": \"p-42\", \"amount\": 10.50}").await;
    // Nobody has deployed it yet: that is no try.
    until("each is postponed", LIMIT, async || {
        let sql = "select count(distinct endpoint) from avouch.attempt where outcome = 'postponed'";
        let row = notified.ground.client.query_one(sql, &[]).await.expect("is valid");
        (row.get::<_, i64>(0) == 3).then_some(())
    })
    .await;
    assert!(takes.asked().is_empty());
    deploy(&notified).await;
    notified.avouch.wait_for_log("form-notify", LIMIT).await;
    until("it is told", LIMIT, async || {
        notified.pass_time().await;
        (notified.count("takes", "delivered").await == 1).then_some(())
    })
    .await;
    let asked = &takes.asked()[0];
    assert_eq!(asked.line, "POST /notify/paid HTTP/1.1");
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(String::from_utf8_lossy(&asked.body), "trade_no=p-42&total=10.50");
    assert_eq!(asked.header("webhook-id"), Some(&*message.to_string()), "and is signed as ever");
    notified.until_count("rejects", "given_up", 1).await;
    until("it was told to come later", LIMIT, async || (!not_yet.asked().is_empty()).then_some(())).await;
    assert_eq!(notified.count("later", "waiting").await, 1, "that is no success");
    *word.lock().expect("nobody panics") = (200, "success");
    // A try that was under way may have heard the old word.
    until("it is told at last", LIMIT, async || {
        notified.pass_time().await;
        (notified.count("later", "delivered").await == 1).then_some(())
    })
    .await;
    let sql = "select bool_and(plugin is not null) from avouch.attempt where outcome <> 'postponed'";
    assert!(
        notified.ground.client.query_one(sql, &[]).await.expect("is valid").get::<_, bool>(0),
        "the version is kept"
    );
}
