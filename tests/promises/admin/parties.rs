//! Endpoints on pages, as a browser without scripts uses them.

use avouch_tests::wait::{secs, until};

use super::Served;
use super::pages::Person;
use crate::notify::Receiver;

const NOTIFY: &str =
    "[notify]\ntopics = [\"payments.>\"]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\nevery_ms = 20\n";

/// A runtime that tells `merchant`, once each.
async fn served(receiver: &Receiver) -> Served {
    Served::with(&format!("{NOTIFY}{}", receiver.section("merchant", "schedule_s = []\n"))).await
}

/// So many messages that were given up just now, without their having been tried.
async fn give_up(served: &Served, count: i32) {
    let sql = format!(
        "with n as (insert into avouch.notice (message_id, topic, key, payload, created_at)
           select avouch.uuid_v7(), 'payments.settled', n::text, '{{}}', now() from generate_series(1, {count}) n returning message_id)
         insert into avouch.delivery (endpoint, message_id, state, attempts, status, reason, told, ended_at)
         select e.id, n.message_id, 'given_up', 9, 500, 'it answers <b>500</b>', true, now() from n, avouch.endpoint e where e.name = 'merchant'"
    );
    served.sql(&sql).await;
}

#[tokio::test]
async fn endpoints_are_in_the_navigation_where_anybody_is_told() {
    let silent = Served::new().await;
    let person = Person::new(&silent, "admin").await;
    assert!(!person.look("/").await.text.contains("href=\"/endpoints\""));
    let page = person.look("/endpoints").await;
    assert!(page.status == 200 && page.text.contains("notify.topics") && !page.text.contains("action=\"/endpoints\""));
    let receiver = Receiver::new(200).await;
    let served = served(&receiver).await;
    let viewer = Person::new(&served, "view").await;
    let overview = viewer.look("/").await.text;
    assert!(overview.contains("href=\"/endpoints\""), "{overview}");
    let page = viewer.look("/endpoints/merchant").await.text;
    assert!(!page.contains("action=\"/endpoints"), "a viewer is offered nothing to do: {page}");
    assert_eq!(viewer.look("/endpoints/nobody").await.status, 404);
    let never = "/endpoints/merchant/deliveries/00000000-0000-7000-8000-000000000000";
    assert_eq!(viewer.look(never).await.status, 404);
}

#[tokio::test]
async fn endpoint_is_made_by_a_form_and_what_it_verifies_with_is_on_that_page_alone() {
    let (receiver, own) = (Receiver::new(200).await, Receiver::new(200).await);
    let served = served(&receiver).await;
    let person = Person::new(&served, "admin").await;
    let url = own.web.origin().replace(':', "%3A").replace('/', "%2F");
    let form = format!(
        "name=own&url={url}&topics=payments.settled%0D%0Apayments.refunded&filter=Merchant%3D17&tenant=shop&schedule=60%2C300&plugin=&signature=v1&why="
    );
    let made = person.send("/endpoints", &form).await.expect_err("its page is the answer");
    assert!(made.status == 201 && made.text.contains("whsec_"), "{} {}", made.status, made.text);
    for path in ["/endpoints/own", "/endpoints", "/audit"] {
        let page = person.look(path).await.text;
        assert!(page.contains("own") && !page.contains("whsec_"), "{path}: {page}");
    }
    let page = person.look("/endpoints/own").await.text;
    for part in ["payments.refunded", "merchant=17", "shop", "1 min, 5 min"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let again = person.send("/endpoints", &form).await.expect_err("its name is taken");
    assert!(again.status == 409 && again.text.contains("another name"), "{} {}", again.status, again.text);
    for (wrong, word) in
        [("url=http%3A%2F%2F10.0.0.1", "private network"), ("schedule=soon", "soon"), ("filter=x", "header=value")]
    {
        let field = wrong.split('=').next().expect("it has a name");
        let kept: Vec<_> = form.split('&').filter(|part| !part.starts_with(&format!("{field}="))).collect();
        let refused = person.send("/endpoints", &format!("{}&{wrong}", kept.join("&"))).await.expect_err(wrong);
        assert!(refused.status == 422 && refused.text.contains(word), "{wrong}: {} {}", refused.status, refused.text);
    }
    let other = person.send("/endpoints/own/secret", "why=leaked").await.expect_err("its page is the answer");
    assert!(other.status == 201 && other.text.contains("whsec_") && other.text != made.text);
    let refused = person.send("/endpoints/own/remove", "why=+").await.expect_err("it says no why");
    assert_eq!(refused.status, 422);
    let waits = "insert into avouch.delivery (endpoint, message_id, next_at) \
                 select e.id, avouch.uuid_v7(), now() + interval '1 hour' from avouch.endpoint e where e.name = 'own'";
    served.sql(waits).await;
    let page = person.look("/endpoints/own").await.text;
    assert!(page.contains("name=\"confirm\" type=\"number\" min=\"0\" required value=\"1\""), "{page}");
    let unseen = person.send("/endpoints/own/remove", "why=contract+ended").await.expect_err("one waits for it");
    assert!(unseen.status == 409 && unseen.text.contains("confirm = 1"), "{}", unseen.text);
    let removed = person.does("/endpoints/own/remove", "why=contract+ended&confirm=1").await;
    assert!(removed.contains("removed.") && !removed.contains("href=\"/endpoints/own\""), "{removed}");
    let configured = person.send("/endpoints/merchant/remove", "why=x").await.expect_err("it stands in the file");
    assert!(configured.status == 409 && configured.text.contains("[endpoint.merchant]"), "{}", configured.text);
}

#[tokio::test]
async fn endpoint_is_pinged_disabled_and_enabled_by_buttons() {
    let receiver = Receiver::new(200).await;
    let served = served(&receiver).await;
    let person = Person::new(&served, "operate").await;
    let place = person.send("/endpoints/merchant/ping", "why=").await.unwrap_or_else(|page| panic!("{}", page.text));
    assert!(person.look(&place).await.text.contains("asked:"), "{place}");
    until("its page tells what came of it", secs(30), async || {
        let page = person.look(&place).await.text;
        (page.contains(">delivered<") && page.contains("said &lt;b&gt;so&lt;/b&gt;")).then_some(())
    })
    .await;
    let disabled = person.does("/endpoints/merchant/disable", "why=they+move").await;
    assert!(disabled.contains("they move") && disabled.contains("/endpoints/merchant/enable"), "{disabled}");
    assert!(person.look("/").await.text.contains("is disabled"), "the overview tells it");
    assert!(person.does("/endpoints/merchant/ping", "why=").await.contains("it is disabled."));
    assert!(person.does("/endpoints/merchant/disable", "why=").await.contains("it was disabled already."));
    assert!(person.does("/endpoints/merchant/enable", "why=").await.contains("enabled."));
    assert_eq!(receiver.web.asked().len(), 1);
}

#[tokio::test]
async fn what_was_given_up_is_counted_then_told_again() {
    let receiver = Receiver::new(200).await;
    let served = served(&receiver).await;
    let person = Person::new(&served, "operate").await;
    give_up(&served, 60).await;
    let first = person.look("/endpoints/merchant?state=given_up").await.text;
    assert_eq!(first.matches("/resend\"").count() - 1, 50, "fifty rows, and the form that counts: {first}");
    let next =
        first.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("there are more");
    let second = person.look(&next.replace("&amp;", "&")).await.text;
    assert_eq!(second.matches("/resend\"").count() - 1, 10, "{second}");
    let asked = person.look("/endpoints/merchant/resend?since=2h").await.text;
    assert!(asked.contains("name=\"confirm\" value=\"60\"") && asked.contains("it answers &lt;b&gt;500"), "{asked}");
    let field =
        asked.split("name=\"since\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it is fixed");
    let form = format!("since={}&why=back", field.replace('+', "%2B"));
    let other =
        person.send("/endpoints/merchant/resend", &format!("{form}&confirm=59")).await.expect_err("another number");
    assert_eq!(other.status, 409);
    let done = person.does("/endpoints/merchant/resend", &format!("{form}&confirm=60")).await;
    assert!(done.contains("60 of 60: told again"), "{done}");
    until("they are told", secs(30), async || (receiver.ids().len() == 60).then_some(())).await;
    for wrong in ["", "?since=", "?since=soon"] {
        assert_eq!(person.look(&format!("/endpoints/merchant/resend{wrong}")).await.status, 400, "{wrong}");
    }
}
