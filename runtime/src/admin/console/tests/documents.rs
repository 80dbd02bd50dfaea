//! Documents as the store makes them, with any texts in them; and all pages that are made of them.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::charts::{Window, charts};
use super::super::dead::{Act, Group};
use super::super::deliveries::Shelf;
use super::super::entry::Door;
use super::super::lang::Language;
use super::super::messages::Outcome as Answer;
use super::super::notice::{Deed, Notice};
use super::super::replay::Range;
use super::super::transactions::Filter;
use super::super::visit::{Reader, Visit};
use super::super::wanted::{Unreadable, Wanted};
use super::super::{
    audit, consumers, dead, deliveries, endpoints, entry, holds as held, instances, message, messages, overview,
    plugins, replay, transaction, transactions,
};
use crate::access::Role;
use crate::admin::Problem;
use crate::admin::bulk::Outcome;
use crate::admin::deliveries::NotifiedAgain;
use crate::admin::sight::Content;
use crate::store::search::Found;
use crate::store::views::{Attempt, Delivery, Endpoint, Message, Sample, Status, Transaction};

/// Breaks out of elements and attributes, and turns what follows around.
pub const HOSTILE: &str =
    "\"'><img src=x onerror=alert(1)><script>alert(1)</script>javascript:alert(1)\u{202e}\u{2066}\u{1b}[2J";
const ID: &str = "01931b1c-0000-7000-8000-000000000001";
const AT: &str = "2026-11-21T17:00:00.123456+00:00";

/// What stands where others may write.
pub struct Texts {
    /// Anywhere.
    text: &'static str,
}

impl Texts {
    /// Texts that do harm.
    pub fn hostile() -> Self {
        Self { text: HOSTILE }
    }

    /// Texts that do none.
    pub fn plain() -> Self {
        Self { text: "billing" }
    }
}

/// A look at the console.
pub fn visit(language: Language, role: Option<Role>) -> Visit {
    Visit {
        language,
        w: language.words(),
        reader: role.map(|role| Reader { who: HOSTILE.to_owned(), role, has_session: true }),
        place: "/messages?state=dead".to_owned(),
        now: OffsetDateTime::parse("2026-11-21T17:05:00Z", &Rfc3339).expect("is a time"),
        has_endpoints: true,
        notice: Some(Notice { deed: Deed::Resend, done: 3, of: 5 }),
    }
}

fn read<T: serde::de::DeserializeOwned>(document: Value) -> T {
    serde_json::from_value(document).expect("is such a document")
}

fn a_message(t: &str, state: &str) -> Message {
    read(json!({
        "id": ID, "topic": t, "key": t, "state": state, "generation": 2, "created_at": AT, "not_before": AT, "released_at": AT, "sent_at": AT,
        "stream": t, "sequence": 7, "tx_id": ID, "release_on": t, "dedup_key": t, "reason": t, "shard": 3, "bytes": 1234,
        "headers": {"traceparent": t, t: t}, "held": t,
        "waits_for": [{"consumer": t, "state": "dead", "sequence": 9, "tries": 2, "reason": t},
                      {"consumer": t, "state": t, "sequence": null, "tries": 0, "reason": null}],
        "received": [{"consumer": t, "at": AT}]
    }))
}

fn a_transaction(t: &str, state: &str) -> Transaction {
    read(json!({
        "id": ID, "checker": t, "reference": t, "state": state, "messages": 9, "check_at": AT, "created_at": AT, "checks": 3, "unknowns": 1,
        "verdict": t, "checked_by": t, "decided_at": AT, "decided_by": t, "reason": t
    }))
}

fn events(t: &str) -> Vec<crate::store::views::Event> {
    let event = |what: &str| {
        json!({"at": AT, "subject": "transaction", "what": what, "consumer": t, "actor": t,
               "detail": {"reason": t, "why": t, "plugin": t, "from": t, "next": AT, "until": t, "sequence": 4, t: {t: t}, "none": null}})
    };
    let whats = [
        "inserted",
        "released",
        "sent",
        "received",
        "missed",
        "sent_again",
        "resent",
        "asked",
        "asked_before",
        "attempt_failed",
        "attempt_lost",
        "released_from",
        "ready",
        "dead",
        "inbox_running",
        "in_doubt",
        t,
    ];
    read(Value::Array(whats.iter().map(|what| event(what)).collect()))
}

/// All troubles at once.
pub fn status(t: &str) -> Status {
    let instance = |lease_s: f64| {
        json!({"name": t, "version": t, "lease_s": lease_s, "shards": [0, 2], "sent_total": 1_234_567, "sent_per_s": 12.5, "inserted_per_s": 13.0,
               "received_per_s": 11.0, "trouble": t})
    };
    let loss = |left: i64| json!({"stream": t, "reason": t, "noticed_at": AT, "requeued": 12, "shards_left": left});
    read(json!({
        "ready": 10_001, "delayed": 3, "prepared": 2, "waiting": 40, "dead": 5, "in_doubt": 1, "oldest_unsent_s": 75.5, "shards": 4,
        "shards_without_owner": 2, "instances": [instance(4.0), instance(-5.0)], "losses": [loss(2), loss(0)],
        "holds": holds(t), "endpoints": troubled(t)
    }))
}

fn troubled(t: &str) -> Value {
    let endpoint = |state: &str, since: Option<&str>, given_up: i64| json!({"name": t, "state": state, "reason": t, "failing_since": since, "given_up": given_up});
    json!([endpoint("disabled", Some(AT), 3), endpoint("enabled", Some(AT), 0), endpoint("enabled", None, 1001)])
}

fn an_endpoint(t: &str, state: &str, origin: &str) -> Endpoint {
    read(json!({
        "name": t, "tenant": t, "url": t, "topics": [t, t], "filter": {t: t}, "ordered": true, "settings": {"plugin": t, "rate_per_s": 3},
        "origin": origin, "state": state, "reason": t, "failing_since": AT, "created_at": AT, "changed_at": AT, "waiting": 10_000,
        "given_up": 7, "next_at": AT
    }))
}

fn a_delivery(t: &str, state: &str) -> Delivery {
    read(json!({
        "endpoint": t, "message_id": ID, "topic": t, "key": t, "bytes": 1234, "state": state, "round": 2, "attempts": 9, "next_at": null,
        "status": 503, "reason": t, "created_at": AT, "recorded_at": AT, "ended_at": AT
    }))
}

fn attempts(t: &str) -> Vec<Attempt> {
    let attempt = |outcome: &str, status: Option<i32>| {
        json!({"endpoint": t, "message_id": ID, "round": 1, "number": 3, "at": AT, "took_ms": 1234, "outcome": outcome, "status": status,
               "reason": t, "excerpt": t, "plugin": t})
    };
    read(json!([
        attempt("retry", None),
        attempt("delivered", Some(204)),
        attempt("given_up", Some(500)),
        attempt("disabled", Some(410)),
        attempt(t, None)
    ]))
}

fn holds(t: &str) -> Value {
    let hold = |kind: &str, id: Option<&str>| json!({"kind": kind, "name": t, "message_id": id, "reason": t, "created_at": AT});
    json!([
        hold("topic", None),
        hold("key", Some(ID)),
        hold("consumer", None),
        hold(t, None),
        hold("key", None),
        hold("key", None)
    ])
}

/// Two of them.
pub fn samples() -> Vec<Sample> {
    let sample = |at: &str, n: i32| {
        json!({"at": at, "ready": n, "waiting": n, "dead": 0, "in_doubt": 0, "oldest_s": null, "inserted_per_s": 5.0, "sent_per_s": 4.0,
               "received_per_s": 3.0})
    };
    read(json!([sample("2026-11-21T16:50:00Z", 3), sample("2026-11-21T17:00:00Z", 9)]))
}

fn payload(t: &str, is_text: bool) -> Content {
    let text = is_text.then_some(t);
    let base64 = (!is_text).then(|| data_encoding::BASE64.encode(t.as_bytes()));
    Content::Shown(read(json!({"bytes": t.len(), "text": text, "base64": base64, "is_cut": is_text})))
}

/// Every page by its name, and those parts that renew themselves.
pub fn all_pages(visit: &Visit, texts: &Texts) -> Vec<(&'static str, String)> {
    let mut pages = of_messages(visit, texts.text);
    pages.extend(of_operation(visit, texts.text));
    pages.extend(of_endpoints(visit, texts.text));
    let is_reader = visit.reader.is_some();
    let door = Door { next: "/messages", refused: Some(texts.text), has_issuer: true };
    let kept = pages.into_iter().filter(|_| is_reader);
    let problem = Problem {
        title: String::new().into(),
        status: 409,
        detail: texts.text.into(),
        remedy: texts.text.into(),
        ..Problem::conflict("", "")
    };
    let entries = [("login", entry::login(visit, door)), ("problem", entry::problem(visit, &problem))];
    kept.chain(entries).map(|(name, page)| (name, page.into_string())).collect()
}

fn of_messages(visit: &Visit, t: &'static str) -> Vec<(&'static str, maud::Markup)> {
    let wanted = Wanted { key: t.into(), failure: t.into(), consumer: t.into(), ..Wanted::default() };
    let found = Found { messages: ["dead", "ready"].map(|s| a_message(t, s)).into(), cursor: Some(t.into()) };
    let none = |cursor: Option<&str>| Answer::Found(Found { messages: Vec::new(), cursor: cursor.map(str::to_owned) });
    let consumers = [t.to_owned()];
    let groups = read::<Vec<_>>(
        json!([{"consumer": t, "topic": t, "failure": t, "messages": 7, "since": AT, "example": ID},
                                       {"consumer": "-", "topic": t, "failure": "", "messages": 7, "since": AT, "example": ID}]),
    );
    let group = Group::of(&groups[0]);
    let count = |matched| Outcome { matched, done: 0, has_more: true, counted: "1795294800123456".parse().ok() };
    let dead_one = a_message(t, "dead");
    let told = ["waiting", "delivered", "given_up"].map(|state| a_delivery(t, state));
    let tries = attempts(t);
    let nobody: (&[Delivery], &[Attempt]) = (&[], &[]);
    vec![
        ("messages", messages::messages(visit, &wanted, &consumers, &Answer::Found(found))),
        ("messages, none", messages::messages(visit, &Wanted::default(), &[], &none(None))),
        ("messages, none that match", messages::messages(visit, &wanted, &[], &none(None))),
        ("messages, none so far", messages::messages(visit, &wanted, &[], &none(Some("1")))),
        ("messages, refused", messages::messages(visit, &wanted, &[], &Answer::Refused(t.into()))),
        ("messages, unreadable", messages::messages(visit, &wanted, &[], &Answer::Unreadable(Unreadable::Id))),
        ("message, dead", message::message(visit, &dead_one, &events(t), (&told, &tries), &payload(t, true))),
        ("message, sent", message::message(visit, &a_message(t, "sent"), &[], nobody, &payload(t, false))),
        ("message, hidden", message::message(visit, &a_message(t, "ready"), &[], nobody, &Content::Hidden)),
        ("message, gone", message::message(visit, &a_message(t, t), &[], nobody, &Content::Gone)),
        ("dead", dead::dead(visit, &groups)),
        ("dead, none", dead::dead(visit, &[])),
        ("resend a group", dead::dry_run(visit, Act::Resend, &group, &count(7), std::slice::from_ref(&dead_one))),
        ("discard a group", dead::dry_run(visit, Act::Discard, &group, &count(7), &[])),
        ("a group that is gone", dead::dry_run(visit, Act::Resend, &group, &count(0), &[])),
        (
            "replay",
            replay::ask(
                visit,
                t,
                &Range { topic: t.into(), since: t.into(), until: t.into(), forgets: true },
                &count(3),
                &[dead_one],
            ),
        ),
        ("replay of nothing", replay::ask(visit, t, &Range::default(), &count(0), &[])),
    ]
}

fn of_endpoints(visit: &Visit, t: &'static str) -> Vec<(&'static str, maud::Markup)> {
    let all = [("enabled", "api"), ("disabled", "file")].map(|(state, origin)| an_endpoint(t, state, origin));
    let told = ["waiting", "delivered", "given_up", t].map(|state| a_delivery(t, state));
    let count = |count| NotifiedAgain { count, more: true };
    let off = Visit { has_endpoints: false, ..visit.clone() };
    vec![
        ("endpoints", endpoints::endpoints(visit, &all)),
        ("endpoints, none", endpoints::endpoints(visit, &[])),
        ("endpoints, nobody is told", endpoints::endpoints(&off, &[])),
        ("endpoint", endpoints::endpoint(visit, &all[0], Shelf::All, &told, 4)),
        ("endpoint, disabled", endpoints::endpoint(visit, &all[1], Shelf::GivenUp, &[], 4)),
        ("what an endpoint verifies with", endpoints::verifies(visit, t, t)),
        ("delivery", deliveries::delivery(visit, &told[2], &attempts(t))),
        ("delivery, not tried", deliveries::delivery(visit, &told[0], &[])),
        ("tell again", deliveries::ask(visit, t, t, &count(2), &told[2..3])),
        ("tell nothing again", deliveries::ask(visit, t, t, &count(0), &[])),
    ]
}

fn of_operation(visit: &Visit, t: &'static str) -> Vec<(&'static str, maud::Markup)> {
    let txs = ["in_doubt", "prepared", "committed"].map(|state| a_transaction(t, state));
    let consumer = |is_paused: bool| {
        json!({"name": t, "stream": t, "topics": [t, t], "is_required": true, "receipt": "inbox", "is_paused": is_paused, "unfinished": 12,
               "oldest_s": 3.5, "pending": 1, "dead": 2, "lease_ms": 30_000, "attempts_max": 5})
    };
    let all: Vec<_> = read(json!([consumer(true), consumer(false)]));
    let records = ["running", "parked", "rejected"].map(|state| {
        read(json!({"consumer": t, "key": t, "state": state, "attempts": 2, "until": AT, "version": 3, "message_id": ID, "reason": t,
                    "created_at": AT, "changed_at": AT}))
    });
    let deployment = |digest: Option<&str>, is_current: bool| {
        json!({"id": 5, "name": t, "digest": digest, "version": t, "grants": {"bindings": [t], "settings": {t: t}}, "at": AT, "actor": t,
               "is_current": is_current, "bytes": 62_000,
               "calls": 1_234, "errors": 2, "faults": 1, "mean_ms": 1.5, "max_ms": 250.0})
    };
    let deployments: Vec<_> =
        read(json!([deployment(Some("bbb"), true), deployment(Some(t), false), deployment(None, false)]));
    let line =
        |level: &str| json!({"id": 8, "at": AT, "plugin": t, "digest": t, "tx_id": ID, "level": level, "line": t});
    let lines: Vec<_> = read(json!([line("fault"), line("info"), line(t)]));
    let audited: Vec<_> = read(json!([
        {"id": 3, "at": AT, "actor": t, "action": t, "subject": t, "detail": t, "why": t},
        {"id": 2, "at": AT, "actor": t, "action": "commit transaction", "subject": ID, "detail": null, "why": null}
    ]));
    let filter = Filter { checker: t.into(), ..Filter::default() };
    let status = status(t);
    let calm = Status {
        dead: 0,
        in_doubt: 0,
        shards_without_owner: 0,
        oldest_unsent_s: None,
        ..read(serde_json::to_value(&status).expect("is data"))
    };
    let calm = Status { instances: Vec::new(), losses: Vec::new(), holds: Vec::new(), ..calm };
    vec![
        ("overview", overview::overview(visit, &status, Window::Hour, &samples())),
        ("overview, calm", overview::overview(visit, &calm, Window::Day, &[])),
        ("part of the overview", overview::live(visit, &status)),
        ("part with charts", charts(visit, Window::Hours6, &samples())),
        ("instances", instances::instances(visit, &status)),
        ("holds", held::holds(visit, &read::<Vec<_>>(holds(t)))),
        ("holds, none", held::holds(visit, &[])),
        ("transactions", transactions::transactions(visit, &filter, (&txs[..1], true), &txs, Some(txs[0].id))),
        ("transactions, none", transactions::transactions(visit, &Filter::default(), (&[], false), &[], None)),
        ("transaction, in doubt", transaction::transaction(visit, &txs[0], &events(t), &[a_message(t, "prepared")])),
        ("transaction, decided", transaction::transaction(visit, &txs[2], &[], &[])),
        ("consumers", consumers::consumers(visit, &all)),
        ("consumer, paused", consumers::consumer(visit, &all[0], &records)),
        ("consumer", consumers::consumer(visit, &all[1], &[])),
        ("plugins", plugins::plugins(visit, &deployments)),
        ("plugins, none", plugins::plugins(visit, &[])),
        ("plugin", plugins::plugin(visit, t, &deployments, &lines, 3)),
        ("audit", audit::audit(visit, &audited, 2)),
        ("audit, none", audit::audit(visit, &[], 2)),
    ]
}
