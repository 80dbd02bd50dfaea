//! The console in a browser: what people do with it, on any screen, by keys.

mod sights;
mod texts;

use std::path::Path;

use avouch_runtime::access::Role;
use avouch_runtime::admin::{Access, Route, routes};
use avouch_tests::browser::{Browser, Page, View};
use avouch_tests::plugins;
use avouch_tests::wait::{secs, until};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::admin::Served;
use crate::notify::Receiver;
use crate::schema::File;

const NOTIFY: &str =
    "[notify]\ntopics = [\"payments.>\"]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\nevery_ms = 20\n";

/// A console with something in each of its corners.
struct Desk {
    served: Served,
    message: Uuid,
    transaction: Uuid,
    /// Was not told of `told`: its answer is markup.
    receiver: Receiver,
    told: Uuid,
}

impl Desk {
    async fn new() -> Self {
        let receiver = Receiver::new(500).await;
        let merchant = receiver.section("merchant", "tenant = \"shop\"\nschedule_s = []\n");
        let served = Served::with(&format!("[consumer.billing]\ntopics = [\"orders\"]\n{NOTIFY}{merchant}")).await;
        served.sql("select avouch.pause('topic', 'held', 'while the shop moves')").await;
        served.ground.insert("held", 3, 0, 3).await;
        served
            .sql(
                "update avouch.outbox set state = 'dead', reason = 'no customer ' || seq where topic = 'held'; \
                 insert into avouch.tx (id, checker, state, check_at, ref, reason) \
                 values (avouch.uuid_v7(), 'pay', 'in_doubt', clock_timestamp(), 'payment 7', 'the bank does not answer')",
            )
            .await;
        served.ground.insert("orders", 3, 0, 20).await;
        served.ground.drained().await;
        let one = async |sql: &str| served.ground.client.query_one(sql, &[]).await.expect("it is there").get(0);
        let message = one("select id from avouch.outbox where topic = 'orders' and payload = '2:5'").await;
        let transaction = one("select id from avouch.tx").await;
        served
            .sql(
                "insert into avouch.inbox (consumer, key, state, reason, message_id, attempts) \
                 select c.id, o.id::text, s, 'lease ended', o.id, 3 from avouch.consumer c \
                 cross join (select id, (array['parked', 'rejected'])[row_number() over (order by id)] as s \
                             from avouch.outbox where topic = 'orders' and awaiting is not null order by id limit 2) o \
                 where c.name = 'billing'",
            )
            .await;
        served.ground.insert("payments.settled", 1, 0, 1).await;
        let sql = "select message_id from avouch.delivery where state = 'given_up'";
        let given_up = async || Some(served.ground.client.query_opt(sql, &[]).await.expect("is valid")?.get(0));
        let told = until("an endpoint gives up", secs(30), given_up).await;
        Self { served, message, transaction, receiver, told }
    }

    /// A page of somebody with this role, who has just logged in by the form.
    async fn page(&self, role: &str, view: View) -> Page {
        let name = format!("{role}.{}", Uuid::now_v7().simple());
        let token = self.served.token(&name[..20], role).await;
        let page = Browser::with(view).await.page(&self.at("/login")).await;
        page.fill("#token", &token).await;
        page.click("form.login button").await;
        // It is shown by the script: keys are heard from then on.
        page.wait_for("[data-live-sign]").await;
        page
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.served.origin())
    }

    /// Every kind of page.
    fn places(&self) -> Vec<(&'static str, String)> {
        vec![
            ("overview", "/".into()),
            ("messages", "/messages?topic=orders".into()),
            ("message", format!("/messages/{}", self.message)),
            ("transactions", "/transactions".into()),
            ("transaction", format!("/transactions/{}", self.transaction)),
            ("dead", "/dead".into()),
            ("resend", "/dead/resend?consumer=-&topic=held&failure=no%20customer%20%3F".into()),
            ("discard", "/dead/discard?consumer=-&topic=held&failure=no%20customer%20%3F".into()),
            ("consumers", "/consumers".into()),
            ("replay", "/consumers/billing/replay?topic=orders&since=2h".into()),
            ("consumer", "/consumers/billing".into()),
            ("endpoints", "/endpoints".into()),
            ("endpoint", "/endpoints/merchant?state=given_up".into()),
            ("delivery", format!("/endpoints/merchant/deliveries/{}", self.told)),
            ("tell-again", "/endpoints/merchant/resend?since=2h".into()),
            ("message-told", format!("/messages/{}", self.told)),
            ("plugins", "/plugins".into()),
            ("plugin", "/plugins/pay".into()),
            ("instances", "/instances".into()),
            ("holds", "/holds".into()),
            ("audit", "/audit".into()),
        ]
    }
}

#[tokio::test]
async fn operator_finds_a_message_by_its_key_and_reads_its_history() {
    let desk = Desk::new().await;
    let page = desk.page("view", View { timezone: "Asia/Shanghai".into(), ..View::default() }).await;
    page.press("/").await;
    page.wait_for_url("/messages").await;
    page.wait_for("#search").await;
    page.type_into("#search", "2").await;
    page.press("Enter").await;
    page.wait_for_url("key=2").await;
    page.wait_for_text("GMT+8").await;
    page.press("j").await;
    page.press("Enter").await;
    page.wait_for("ol.timeline").await;
    let history = page.text("ol.timeline").await;
    assert!(history.contains("inserted") && history.contains("GMT+8"), "in the reader's own time: {history}");
    page.assert_quiet().await;
}

#[tokio::test]
async fn failure_group_is_sent_again_by_hand() {
    let desk = Desk::new().await;
    let page = desk.page("operate", View::default()).await;
    page.press("g").await;
    page.press("d").await;
    page.wait_for_text("no customer ?").await;
    page.click("a[href^='/dead/resend']").await;
    page.wait_for_text("Send 3 again").await;
    page.fill("input[name=why]", "the customers are back").await;
    page.click(".deed form button").await;
    page.wait_for_text("3 of 3: sent again.").await;
    // Told once, not when the page is loaded again.
    until("the address to be without it", secs(30), async || (!page.url().await.contains("notice")).then_some(()))
        .await;
    assert_eq!(desk.served.ground.count("ready").await, 3);
    page.assert_quiet().await;
}

#[tokio::test]
async fn transaction_in_doubt_is_settled_after_a_reason_was_given() {
    let desk = Desk::new().await;
    let page = desk.page("operate", View::default()).await;
    page.click("a[href='/transactions?state=in_doubt']").await;
    page.click("tbody a").await;
    page.wait_for_text("the bank does not answer").await;
    page.click("details.deed:first-of-type summary").await;
    page.click("details[open] button").await;
    assert!(page.focused().await.contains("input"), "the browser asks for the reason");
    page.fill("details[open] input[name=why]", "the bank has it").await;
    page.click("details[open] button").await;
    page.wait_for_text("committed.").await;
    page.assert_quiet().await;
}

#[tokio::test]
async fn overview_renews_itself_and_keeps_the_focus() {
    let desk = Desk::new().await;
    let page = desk.page("view", View::default()).await;
    page.wait_for(".live.on").await;
    page.evaluate("document.querySelector('.flow .wide a').focus()").await;
    let focused = page.focused().await;
    desk.served.sql("select avouch.pause('topic', 'orders')").await;
    desk.served.ground.insert("orders", 1, 100, 421).await;
    page.wait_for_text("orders is paused").await;
    until("the count to be shown", secs(30), async || page.text(".flow .wide").await.contains("321").then_some(()))
        .await;
    assert_eq!((page.focused().await, focused.is_empty()), (focused.clone(), false));
    page.assert_quiet().await;
}

#[tokio::test]
async fn what_an_endpoint_was_not_told_is_found_looked_at_and_told_again() {
    let desk = Desk::new().await;
    let page = desk.page("operate", View::default()).await;
    page.wait_for_text("Endpoint merchant was not told of 1 messages lately.").await;
    page.click(".troubles a[href^='/endpoints/merchant']").await;
    page.wait_for_url("state=given_up").await;
    page.click("tbody th a").await;
    page.wait_for_text("said <b>so</b>").await;
    let tries = page.text("section[aria-labelledby=attempts]").await;
    assert!(tries.contains("500") && tries.contains("it answers 500"), "{tries}");
    desk.receiver.answers(204);
    page.click("details.deed summary").await;
    page.fill("details[open] input[name=why]", "they are back").await;
    page.click("details[open] form button").await;
    // The page renews itself.
    page.wait_for_text("204").await;
    assert!(page.text("dl.facts").await.contains("delivered"));
    assert_eq!(desk.receiver.ids(), [desk.told, desk.told]);
    page.goto(&desk.at(&format!("/messages/{}", desk.told))).await;
    let told = page.text("section[aria-labelledby=told-to]").await;
    assert!(told.contains("merchant") && told.contains("delivered"), "{told}");
    page.assert_quiet().await;
}

#[tokio::test]
async fn viewer_sees_no_buttons_and_keys_are_told() {
    let desk = Desk::new().await;
    let page = desk.page("view", View { locale: "zh-CN".into(), ..View::default() }).await;
    page.goto(&desk.at("/dead")).await;
    assert_eq!(page.texts("main form, main .deeds a").await, Vec::<String>::new());
    page.press("?").await;
    page.wait_for("dialog[open]").await;
    page.wait_for_text("键盘").await;
    page.press("Escape").await;
    page.wait_until_gone("dialog").await;
    page.assert_quiet().await;
}

/// Another version of a plugin: WebAssembly takes sections that nobody knows.
fn next_version(of: &str) -> File {
    let mut bytes = std::fs::read(plugins::file(of)).expect("it is built");
    bytes.extend_from_slice(b"\0\x05\x04next");
    let file = File::new("next.wasm", "");
    std::fs::write(file.path(), bytes).expect("it can be written");
    file
}

async fn deploy(desk: &Desk, page: &Page, file: &Path, why: &str) {
    page.goto(&desk.at("/plugins")).await;
    page.click("details.deed summary").await;
    page.choose_file("details[open] input[type=file]", file).await;
    page.fill("details[open] input[name=why]", why).await;
    page.click("details[open] button").await;
    page.wait_for_text("deployed.").await;
}

#[tokio::test]
async fn plugin_is_deployed_by_its_file_and_the_version_before_answers_again() {
    let desk = Desk::new().await;
    let page = desk.page("admin", View::default()).await;
    let digest = async || -> String {
        let sql = "select digest from avouch.deployment where name = 'fingerprint' order by id desc limit 1";
        desk.served.ground.client.query_one(sql, &[]).await.expect("it is deployed").get(0)
    };
    deploy(&desk, &page, &plugins::file("fingerprint"), "release 1").await;
    let first = digest().await;
    let next = next_version("fingerprint");
    deploy(&desk, &page, Path::new(next.path()), "release 2").await;
    let second = digest().await;
    assert_ne!(first, second);
    page.click("tbody details.deed summary").await;
    page.fill("tbody details[open] input[name=why]", "it is slower").await;
    page.click("tbody details[open] button").await;
    page.wait_for_text("this version answers again.").await;
    assert_eq!(digest().await, first);
    let sql = "select string_agg(action || ' ' || why, ', ' order by id) from avouch.audit where action like '%plugin' or action = 'deploy'";
    let audit: String = desk.served.ground.client.query_one(sql, &[]).await.expect("is valid").get(0);
    assert_eq!(audit, "deploy release 1, deploy release 2, roll back plugin it is slower");
    page.assert_quiet().await;
}

/// What somebody who looks must not do.
fn mutating() -> Vec<Route> {
    let changes =
        |route: &Route| route.method != Method::GET && matches!(route.access, Access::Needs(role) if role > Role::View);
    routes().into_iter().filter(changes).collect()
}

/// The status that a page of the console is answered when its script asks this of its own server.
async fn asked_in(page: &Page, desk: &Desk, route: &Route) -> i64 {
    let path = route.path.replace("{id}", &desk.message.to_string()).replace("{consumer}", "billing");
    let name = ["consumers", "endpoints"].into_iter().find(|of| path.contains(of));
    let name = name.map_or("fingerprint", |of| if of == "consumers" { "billing" } else { "merchant" });
    let path = path.replace("{name}", name).replace("{endpoint}", name);
    let (kind, body) = if route.path == "/v1/holds/pause" {
        ("application/json", r#"{"kind":"topic","name":"orders","reason":"x"}"#)
    } else if route.path.starts_with("/v1/") {
        ("application/json", "{}")
    } else {
        ("application/x-www-form-urlencoded", "kind=topic&name=orders&why=x&next=%2Fholds")
    };
    let request =
        json!({"method": route.method.as_str(), "headers": {"content-type": kind}, "body": body, "redirect": "manual"});
    let status = page.evaluate(&format!("fetch({}, {request}).then(answer => answer.status)", json!(path))).await;
    status.as_i64().unwrap_or_else(|| panic!("{path} is not answered: {status}"))
}

#[tokio::test]
async fn viewer_is_offered_nothing_that_changes_and_is_refused_it_from_the_page_too() {
    let desk = Desk::new().await;
    let viewer = desk.page("view", View::default()).await;
    let mut offered = 0;
    let admin = desk.page("admin", View::default()).await;
    // These are steps of what is done: all of such a page is refused.
    let (steps, places): (Vec<_>, Vec<_>) =
        desk.places().into_iter().partition(|(name, _)| ["resend", "discard", "replay", "tell-again"].contains(name));
    for (name, path) in places {
        viewer.goto(&desk.at(&path)).await;
        let forms = "main form[method=post], main .deed, main a[href^='/dead/resend'], main a[href^='/dead/discard']";
        assert_eq!(viewer.texts(forms).await, Vec::<String>::new(), "{name}");
        viewer.assert_quiet().await;
        admin.goto(&desk.at(&path)).await;
        offered += admin.texts(forms).await.len();
    }
    assert!(offered > 10, "the same pages offer an administrator what they do: {offered}");
    for (_, path) in steps {
        viewer.goto(&desk.at(&path)).await;
        viewer.wait_for_text("This is not yours to do").await;
    }
    viewer.goto(&desk.at("/holds")).await;
    let routes = mutating();
    assert!(routes.len() > 25, "{routes:?}");
    for route in &routes {
        assert_eq!(asked_in(&viewer, &desk, route).await, 403, "{route:?}");
    }
    let held = "select count(*) from avouch.hold where name = 'orders'";
    let count =
        async |sql: &str| -> i64 { desk.served.ground.client.query_one(sql, &[]).await.expect("is valid").get(0) };
    assert_eq!(count(held).await, 0);
    // The page's request itself is good: somebody who may is let in with it.
    admin.goto(&desk.at("/holds")).await;
    let pause = routes.iter().find(|route| route.path == "/v1/holds/pause").expect("it is one");
    assert_eq!(asked_in(&admin, &desk, pause).await, 204);
    assert_eq!(count(held).await, 1);
    let view = "select count(*) from avouch.audit where actor like 'view%'";
    assert_eq!(count(view).await, 0, "nothing was done by somebody who looks");
}
