//! Texts that mean a console's readers ill, and those that a browser changes when it sends them.

use avouch_tests::browser::View;
use avouch_tests::hostile_text::{Harm, HostileText, assert_inert, corpus, nul};
use uuid::Uuid;

use super::Desk;
use crate::admin::send;

/// As many as a page of the list has.
const ROWS: usize = 50;

/// As the group of a failure shows it: without what differs from message to message.
fn grouped(text: &HostileText) -> HostileText {
    let mut shown = String::new();
    for c in text.text.chars().take(300) {
        match c.is_ascii_digit() {
            true if shown.ends_with('?') => {}
            true => shown.push('?'),
            false => shown.push(c),
        }
    }
    HostileText { text: shown, ..text.clone() }
}

#[tokio::test]
async fn hostile_texts_are_shown_as_texts() {
    let desk = Desk::new().await;
    desk.served.sql("select avouch.pause('topic', 'hostile')").await;
    let page = desk.page("admin", View::default()).await;
    let mut texts = corpus();
    for text in &texts {
        let insert =
            "insert into avouch.outbox (topic, key, payload) values ('hostile', left($1, 200), $1) returning id";
        let row = desk.served.ground.client.query_one(insert, &[&text.text]).await.expect("it is a text");
        let id: Uuid = row.get(0);
        let dead = "update avouch.outbox set state = 'dead', reason = left($2, 300) where id = $1";
        desk.served.ground.client.execute(dead, &[&id, &text.text]).await.expect("it is there");
        page.goto(&desk.at(&format!("/messages/{id}"))).await;
        assert_inert(&page, std::slice::from_ref(text)).await;
        page.assert_fits().await;
    }
    page.goto(&desk.at("/dead")).await;
    assert_inert(&page, &texts.iter().map(grouped).collect::<Vec<_>>()).await;
    page.assert_fits().await;
    // The newest first.
    texts.reverse();
    page.goto(&desk.at("/messages?topic=hostile")).await;
    for (place, shown) in texts.chunks(ROWS).enumerate() {
        if place > 0 {
            page.click("a[rel=next]").await;
            page.wait_for_url("cursor=").await;
            page.wait_for("tbody").await;
        }
        assert_inert(&page, shown).await;
        page.assert_quiet().await;
        page.assert_fits().await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_shown_as_bytes() {
    let desk = Desk::new().await;
    desk.served.sql("select avouch.pause('topic', 'hostile')").await;
    let client = &desk.served.ground.client;
    let insert = "insert into avouch.outbox (topic, payload_bytes) values ('hostile', $1) returning id";
    let id: Uuid = client.query_one(insert, &[&nul()]).await.expect("bytes may be any").get(0);
    // Nowhere else can it stand: Postgres has no text with it.
    let headers = "insert into avouch.outbox (topic, payload, headers) values ('hostile', '', '{\"a\": \"\\u0000\"}')";
    assert!(client.batch_execute(headers).await.is_err());
    let page = desk.page("admin", View::default()).await;
    page.goto(&desk.at(&format!("/messages/{id}"))).await;
    let name = "bytes";
    let digits = HostileText { name, text: "62 65 66 6f 72 65 00 3c 69 6d 67".into(), harm: Harm::Text };
    let letters = HostileText { name, text: "before·<img data".into(), harm: Harm::Markup };
    assert_inert(&page, &[digits, letters]).await;
    page.assert_quiet().await;
    page.assert_fits().await;
}

#[tokio::test]
async fn hostile_texts_of_endpoints_are_shown_as_texts() {
    let desk = Desk::new().await;
    let page = desk.page("admin", View::default()).await;
    let client = &desk.served.ground.client;
    for text in corpus() {
        // As a producer, an administrator and a receiver may have written it; the runtime keeps no more of an answer than this.
        let told: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&text.text];
        for sql in [
            "update avouch.notice set topic = left($1, 200), key = left($1, 200)",
            "update avouch.attempt set reason = left($1, 1000), excerpt = left($1, 500)",
            "update avouch.delivery set reason = left($1, 1000)",
            "update avouch.endpoint set tenant = left(regexp_replace($1, '[^ -~]', '', 'g'), 100), reason = left($1, 500), state = 'disabled'",
        ] {
            client.execute(sql, &told).await.unwrap_or_else(|e| panic!("{}: {e:?}", text.name));
        }
        for path in
            [format!("/endpoints/merchant/deliveries/{}", desk.told), "/endpoints/merchant?state=given_up".to_owned()]
        {
            page.goto(&desk.at(&path)).await;
            assert_inert(&page, std::slice::from_ref(&text)).await;
            page.assert_fits().await;
        }
    }
    for path in ["/".to_owned(), "/endpoints".to_owned(), format!("/messages/{}", desk.told)] {
        page.goto(&desk.at(&path)).await;
        page.assert_quiet().await;
        page.assert_fits().await;
    }
}

#[tokio::test]
async fn what_has_several_lines_is_dealt_with_as_it_was_shown() {
    let desk = Desk::new().await;
    desk.served
        .sql(
            "update avouch.outbox set reason = E'no customer\\n  at 100%25 + x\\r\\n\\tof <shop>' where topic = 'held'; \
             insert into avouch.inbox (consumer, key, state) select id, E'two\\nlines', 'parked' from avouch.consumer; \
             select avouch.pause('key', E'first\\nsecond')",
        )
        .await;
    let page = desk.page("operate", View::default()).await;
    let count =
        async |sql: &str| -> i64 { desk.served.ground.client.query_one(sql, &[]).await.expect("is valid").get(0) };
    for (act, done) in [("resend", "3 of 3: sent again."), ("discard", "3 of 3: discarded.")] {
        page.goto(&desk.at("/dead")).await;
        page.click(&format!("a[href^='/dead/{act}']")).await;
        page.wait_for_text("no customer").await;
        page.fill("input[name=why]", "they are back").await;
        page.click(".deed form button").await;
        page.wait_for_text(done).await;
        let again = "update avouch.outbox set state = 'dead', reason = E'no customer\\n again' where topic = 'held' and state = 'ready'";
        desk.served.sql(again).await;
    }
    assert_eq!(count("select count(*) from avouch.outbox where state = 'discarded'").await, 3);
    // Its page lists those of messages only: this is the form that it would send.
    let token = desk.served.token("root", "admin").await;
    let form = desk.served.form("/consumers/billing/records", "key=two%250Alines&outcome=done&why=looked+at");
    assert_eq!(send(form.bearer_auth(&token)).await.status(), 303);
    assert_eq!(count("select count(*) from avouch.inbox where key = E'two\\nlines' and state = 'done'").await, 1);
    page.goto(&desk.at("/holds")).await;
    page.click("tbody tr:has(form input[value^=first]) details.deed summary").await;
    page.click("tbody details[open] button").await;
    page.wait_for_text("goes on.").await;
    assert_eq!(count("select count(*) from avouch.hold where kind = 'key' and name like 'first%'").await, 0);
    page.assert_quiet().await;
}
