//! The console over HTTP, as a browser without scripts uses it: pages, forms, what they lead to.

use avouch_runtime::admin::{Access, routes};
use avouch_tests::plugins::file;
use avouch_tests::wait::{secs, until};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION};
use uuid::Uuid;

use super::{Served, cookie_of, send};

/// Somebody at a browser.
pub struct Person<'a> {
    served: &'a Served,
    cookie: String,
}

/// What a browser would show.
pub struct Shown {
    pub status: u16,
    pub text: String,
}

impl<'a> Person<'a> {
    pub async fn new(served: &'a Served, role: &str) -> Self {
        let token = served.token(&format!("{role}.person"), role).await;
        Self { served, cookie: served.log_in(&token).await }
    }

    pub async fn look(&self, path: &str) -> Shown {
        let request = self.served.ask(Method::GET, path).header(COOKIE, &self.cookie).header(ACCEPT, "text/html");
        let response = send(request).await;
        Shown { status: response.status().as_u16(), text: response.text().await.expect("it is a page") }
    }

    /// Sends a form. Returns where it leads, or the page that refuses it.
    pub async fn send(&self, path: &str, form: &str) -> Result<String, Shown> {
        let request = self.served.form(path, form).header(COOKIE, &self.cookie).header(ACCEPT, "text/html");
        let response = send(request).await;
        match response.status().as_u16() {
            303 => Ok(response.headers()[LOCATION].to_str().expect("it is an address").to_owned()),
            status => Err(Shown { status, text: response.text().await.expect("it is a page") }),
        }
    }

    /// The page that a form leads to; it must be done.
    pub async fn does(&self, path: &str, form: &str) -> String {
        let place =
            self.send(path, form).await.unwrap_or_else(|shown| panic!("{path}: {} {}", shown.status, shown.text));
        self.look(&place).await.text
    }
}

/// One row, by a statement that returns its id.
async fn id_of(served: &Served, sql: &str) -> Uuid {
    served.ground.client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
}

/// Two of these die for the same reason, on a topic that is held, so that they stay as the test puts them.
async fn two_dead(served: &Served) {
    served.sql("select avouch.pause('topic', 'orders')").await;
    served.ground.insert("orders", 1, 0, 2).await;
    served.sql("update avouch.outbox set state = 'dead', reason = 'no order ' || seq where topic = 'orders'").await;
}

#[tokio::test]
async fn every_page_is_served_to_people_and_speaks_their_language() {
    let served = Served::new().await;
    let person = Person::new(&served, "admin").await;
    let pages = routes().into_iter().filter(|route| route.method == Method::GET && !route.path.starts_with("/v1/"));
    let pages: Vec<_> = pages.filter(|route| route.access != Access::Open && !route.path.contains('{')).collect();
    assert!(pages.len() > 12, "{pages:?}");
    for route in &pages {
        let query = if route.path.starts_with("/dead/") { "?topic=orders" } else { "" };
        let path = format!("{}{query}", route.path);
        let shown = person.look(&path).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text);
        let chinese = format!("{}; avouch_language=zh-CN", person.cookie);
        let request = served.ask(Method::GET, &path).header(COOKIE, chinese).header(ACCEPT, "text/html");
        let text = send(request).await.text().await.expect("it is a page");
        assert!(text.contains("zh-CN") == shown.text.contains("<html") || route.path.contains("live"), "{path}");
        assert_ne!(text, shown.text, "{path} is the same in both languages");
    }
    let none = person.look("/messages/00000000-0000-7000-8000-000000000000").await;
    assert!(none.status == 404 && none.text.contains("<h1>There is no such thing</h1>"), "{}", none.text);
}

#[tokio::test]
async fn language_that_was_chosen_is_kept_and_leads_back() {
    let served = Served::new().await;
    let request = served.form("/language", "language=zh-CN&next=%2Flogin");
    let response = send(request).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[LOCATION]),
        (303, &"/login".parse().expect("is a value"))
    );
    let cookie = cookie_of(&response, "avouch_language").expect("it is kept");
    let login =
        send(served.ask(Method::GET, "/login").header(COOKIE, cookie)).await.text().await.expect("it is a page");
    assert!(login.contains("<html lang=\"zh-CN\">") && login.contains("登录"), "{login}");
    let away = send(served.form("/language", "language=en&next=%2F%2Fevil.example")).await;
    assert_eq!(away.headers()[LOCATION], "/");
    let foreign = served.ask(Method::POST, "/language").header("origin", "https://evil.example");
    let foreign = foreign.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body("language=en");
    assert_eq!(send(foreign).await.status(), 403);
}

#[tokio::test]
async fn message_is_found_by_key_or_id_and_its_page_tells_what_happened() {
    let served = Served::with("[consumer.billing]\ntopics = [\"orders\"]").await;
    let person = Person::new(&served, "view").await;
    let sql = "insert into avouch.outbox (topic, key, payload, headers) values ('orders', E'k&<b>\\u202e', '{\"total\": [1.10]}', \
               '{\"traceparent\": \"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}') returning id";
    let id = id_of(&served, sql).await;
    served.ground.drained().await;
    let found = person.look("/messages?key=k%26%3Cb%3E%E2%80%AE").await.text;
    assert!(found.contains(&format!("href=\"/messages/{id}\"")), "{found}");
    assert!(found.contains("k&amp;&lt;b&gt;<span class=\"ctl\">\\u{202e}</span>"), "{found}");
    let by_id = served.ask(Method::GET, &format!("/messages?id={id}")).header(COOKIE, &person.cookie);
    assert_eq!(send(by_id).await.headers()[LOCATION].to_str().ok(), Some(format!("/messages/{id}").as_str()));
    let page = person.look(&format!("/messages/{id}")).await.text;
    let trace = "<dt>Trace id</dt><dd><code>4bf92f3577b34da6a3ce929d0e0e4736</code></dd>";
    for part in ["inserted", "billing", trace, "\n  &quot;total&quot;: [\n    1.10\n  ]\n"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<form method=\"post\" action=\"/messages"), "a viewer is offered nothing to do");
    for wrong in ["id=nonsense", "since=yesterday"] {
        let shown = person.look(&format!("/messages?{wrong}")).await;
        assert!(shown.status == 200 && shown.text.contains("role=\"alert\""), "{wrong}: {}", shown.text);
    }
}

#[tokio::test]
async fn payload_is_hidden_on_pages_from_roles_that_may_not_see_it() {
    let served = Served::with("payloads = \"admin\"").await;
    let id =
        id_of(&served, "insert into avouch.outbox (topic, payload) values ('orders', 'card 4111') returning id").await;
    for (role, sees) in [("operate", false), ("admin", true)] {
        let page = Person::new(&served, role).await.look(&format!("/messages/{id}")).await.text;
        assert_eq!(page.contains("card 4111"), sees, "{role}: {page}");
    }
}

#[tokio::test]
async fn group_is_sent_again_from_the_page_that_counted_it() {
    let served = Served::new().await;
    two_dead(&served).await;
    let person = Person::new(&served, "operate").await;
    let groups = person.look("/dead").await.text;
    let place = "/dead/resend?consumer=%2D&amp;topic=orders&amp;failure=no%20order%20%3F";
    assert!(groups.contains(&format!("href=\"{place}\"")), "{groups}");
    let asked = person.look(&place.replace("&amp;", "&")).await.text;
    assert!(asked.contains("name=\"confirm\" value=\"2\"") && asked.contains("Send 2 again"), "{asked}");
    let counted = asked.split("name=\"counted\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let group = format!("consumer=-&topic=orders&failure=no+order+%3F&counted={}", counted.expect("it is a field"));
    let other =
        person.send("/dead/resend", &format!("{group}&confirm=1&why=")).await.expect_err("it is less than there are");
    assert_eq!((other.status, served.ground.count("dead").await), (409, 2));
    // It grows meanwhile.
    served.ground.insert("orders", 1, 2, 3).await;
    served
        .sql(
            "update avouch.outbox set state = 'dead', reason = 'no order 9' where state = 'ready' and topic = 'orders'",
        )
        .await;
    let done = person.does("/dead/resend", &format!("{group}&confirm=2&why=the+shop+is+back")).await;
    assert!(done.contains("2 of 2: sent again."), "{done}");
    assert_eq!((served.ground.count("ready").await, served.ground.count("dead").await), (2, 1));
    let audit = person.look("/audit").await.text;
    assert!(audit.contains("operate.person") && audit.contains("the shop is back"), "{audit}");
}

#[tokio::test]
async fn what_cannot_be_undone_is_not_done_without_a_reason() {
    let served = Served::new().await;
    two_dead(&served).await;
    let id = id_of(&served, "select id from avouch.outbox limit 1").await;
    let person = Person::new(&served, "admin").await;
    for (path, form) in [
        (format!("/messages/{id}/discard"), "why=+"),
        ("/dead/discard".to_owned(), "consumer=-&topic=orders&failure=no+order+%3F&counted=0&confirm=2&why="),
        (format!("/transactions/{id}/commit"), ""),
        ("/consumers/billing/remove".to_owned(), "why="),
        ("/plugins/fingerprint/remove".to_owned(), "why="),
    ] {
        let refused = person.send(&path, form).await.expect_err("it says no why");
        assert!(
            refused.status == 422 && refused.text.contains("reason"),
            "{path}: {} {}",
            refused.status,
            refused.text
        );
    }
    assert_eq!(served.ground.count("dead").await, 2);
    let done = person.does(&format!("/messages/{id}/discard"), "why=never+ordered").await;
    assert!(done.contains("discarded.") && done.contains("never ordered"), "{done}");
    let again = person.does(&format!("/messages/{id}/resend"), "why=").await;
    assert!(again.contains("not dead any more"), "{again}");
}

#[tokio::test]
async fn transaction_in_doubt_is_settled_once_and_the_loser_is_told() {
    let served = Served::new().await;
    let sql = "insert into avouch.tx (id, checker, state, check_at, reason) \
               values (avouch.uuid_v7(), 'pay', 'in_doubt', clock_timestamp(), 'the bank <i>said</i> nothing') returning id";
    let id = id_of(&served, sql).await;
    let person = Person::new(&served, "operate").await;
    let list = person.look("/transactions").await.text;
    assert!(
        list.contains(&format!("/transactions/{id}")) && list.contains("the bank &lt;i&gt;said&lt;/i&gt; nothing"),
        "{list}"
    );
    let done = person.does(&format!("/transactions/{id}/commit"), "why=the+bank+has+it").await;
    assert!(done.contains("committed.") && done.contains("the bank has it") && !done.contains("/rollback"), "{done}");
    let late = person.does(&format!("/transactions/{id}/rollback"), "why=or+not").await;
    assert!(late.contains("decided by somebody else meanwhile"), "{late}");
}

#[tokio::test]
async fn transaction_shows_its_messages_while_it_holds_them_and_afterwards() {
    let served = Served::new().await;
    let tx = id_of(&served, "select avouch.prepare('pay', '1 hour')").await;
    let insert = format!(
        "insert into avouch.outbox (tx_id, topic, key, payload) values ('{tx}', 'paid', 'p1', 'x') returning id"
    );
    let id = id_of(&served, &insert).await;
    let person = Person::new(&served, "view").await;
    let page = async || person.look(&format!("/transactions/{tx}")).await.text;
    assert!(page().await.contains(&format!("/messages/{id}")));
    served.sql(&format!("select avouch.commit('{tx}')")).await;
    served.ground.drained().await;
    assert!(page().await.contains(&format!("/messages/{id}")), "after it was decided too");
}

#[tokio::test]
async fn topic_is_paused_and_goes_on_by_forms() {
    let served = Served::new().await;
    let person = Person::new(&served, "operate").await;
    let paused = person.does("/pause", "kind=topic&name=orders&why=upgrade&next=%2Fholds").await;
    assert!(paused.contains("paused.") && paused.contains("upgrade"), "{paused}");
    assert!(person.look("/").await.text.contains("is paused"), "the overview tells it");
    let resumed = person.does("/resume", "kind=topic&name=orders&why=&next=%2Fholds").await;
    assert!(resumed.contains("goes on."), "{resumed}");
    let again = person.does("/resume", "kind=topic&name=orders&why=&next=https%3A%2F%2Fevil.example").await;
    assert!(again.contains("was not paused"), "{again}");
}

#[tokio::test]
async fn consumer_gets_a_stretch_of_time_once_more_after_it_was_counted() {
    let served = Served::with("[consumer.billing]\ntopics = [\"orders\"]").await;
    served.ground.insert("orders", 1, 0, 3).await;
    served.ground.drained().await;
    let person = Person::new(&served, "operate").await;
    until("they are marked", secs(30), async || (served.ground.count("sent").await == 3).then_some(())).await;
    let asked = person.look("/consumers/billing/replay?topic=&since=2h&until=").await.text;
    assert!(asked.contains("name=\"confirm\" value=\"3\""), "{asked}");
    let field = |name: &str| {
        let rest = asked.split(&format!("name=\"{name}\" value=\"")).nth(1).expect("it is a field");
        rest.split('"').next().expect("it ends").replace('+', "%2B")
    };
    let (since, until, counted) = (field("since"), field("until"), field("counted"));
    let form = format!("topic=&since={since}&until={until}&counted={counted}&confirm=3&why=lost+there");
    let done = person.does("/consumers/billing/replay", &form).await;
    assert!(done.contains("3 of 3: will be sent once more."), "{done}");
}

#[tokio::test]
async fn plugin_is_deployed_by_a_form_and_its_earlier_version_answers_again() {
    let served = Served::new().await;
    let person = Person::new(&served, "admin").await;
    let bytes = std::fs::read(file("fingerprint")).expect("it is built");
    let form = |bytes: &[u8], settings: &str| {
        let mut body = Vec::new();
        let mut part = |head: &str, value: &[u8]| {
            body.extend_from_slice(format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        };
        part("name=\"file\"; filename=\"p.wasm\"", bytes);
        part("name=\"grants\"", b"");
        part("name=\"settings\"", settings.as_bytes());
        part("name=\"why\"", b"release 1");
        body.extend_from_slice(b"--XX--\r\n");
        let request = served
            .ask(Method::POST, "/plugins")
            .header("origin", served.origin())
            .header("sec-fetch-site", "same-origin");
        let request = request.header(CONTENT_TYPE, "multipart/form-data; boundary=XX").header(ACCEPT, "text/html");
        request.header(COOKIE, &person.cookie).body(body)
    };
    let response = send(form(&bytes, "")).await;
    assert_eq!(response.status(), 303, "{:?}", response.text().await);
    assert_eq!(response.headers()[LOCATION], "/plugins/fingerprint?notice=deployed%2D1%2D1");
    for (bytes, settings, status) in [(&b""[..], "", 422), (b"\0asm\x01\0\0\0", "", 422), (&bytes, "nonsense", 422)] {
        assert_eq!(send(form(bytes, settings)).await.status(), status, "{settings}");
    }
    let removed = person.does("/plugins/fingerprint/remove", "why=too+slow").await;
    assert!(removed.contains("nobody answers"), "{removed}");
    let id = removed.split("name=\"deployment\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let id = id.expect("it can go back");
    let back = person.does("/plugins/fingerprint/rollback", &format!("deployment={id}&why=")).await;
    assert!(back.contains("this version answers again."), "{back}");
    assert!(person.look("/plugins").await.text.contains("fingerprint"));
}

#[tokio::test]
async fn viewer_is_refused_with_a_page_that_says_what_to_do() {
    let served = Served::new().await;
    two_dead(&served).await;
    let person = Person::new(&served, "view").await;
    let refused =
        person.send("/dead/resend", "consumer=-&topic=orders&failure=no+order+%3F&counted=0&confirm=2&why=x").await;
    let refused = refused.expect_err("it needs more");
    assert!(refused.status == 403 && refused.text.contains("<h1>This is not yours to do</h1>"), "{}", refused.text);
    assert!(refused.text.contains("ask an administrator"), "{}", refused.text);
    assert_eq!(served.ground.count("dead").await, 2);
    let person = Person::new(&served, "operate").await;
    let chinese = format!("{}; avouch_language=zh-CN", person.cookie);
    for (path, status, title) in [
        ("/nothing", 404, "不存在"),
        ("/messages/00000000-0000-7000-8000-000000000000", 404, "不存在"),
        ("/messages/no-id", 400, "无法读取"),
        ("/dead/discard", 422, "无法这样执行"),
        ("/consumers/nobody/replay?since=2h", 404, "不存在"),
    ] {
        let request = served.ask(Method::GET, path).header(COOKIE, &chinese).header(ACCEPT, "text/html");
        let answer = send(request).await;
        assert_eq!(answer.status(), status, "{path}");
        let page = answer.text().await.expect("it is a page");
        assert!(page.contains(&format!("<h1>{title}</h1>")), "{path}: {page}");
        assert!(page.contains("<nav") && page.contains("operate.person"), "{path} is a page of who is here: {page}");
        assert!(page.contains("<p lang=\"en\">"), "{path}: what it is exactly is said in English: {page}");
    }
    let stranger = send(served.ask(Method::GET, "/nothing").header(ACCEPT, "text/html")).await;
    let page = stranger.text().await.expect("it is a page");
    assert!(page.contains("<h1>There is no such thing</h1>") && !page.contains("<nav"), "{page}");
}
