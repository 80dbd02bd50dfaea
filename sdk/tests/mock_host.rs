//! What a rule sees of the host, through the mock one.

use avouch_sdk::mock::{self, Host};
use avouch_sdk::{Level, Message, Request, RuleError, Transaction};
use serde_json::json;

fn is_permanent<T>(answer: &Result<T, RuleError>, naming: &str) -> bool {
    matches!(answer, Err(RuleError::Permanent(why)) if why.contains(naming))
}

#[test]
fn what_is_not_granted_is_denied() {
    let host =
        Host::new().sql("orders", "granted", |_| Ok(vec![])).nats("asked", |_, _| Ok(vec![])).kv("kept", "k", "v");
    let cx = host.context();
    let answers = [
        cx.sql("orders").rows("other", &[]).map(drop),
        cx.sql("other").rows("granted", &[]).map(drop),
        cx.http("payments").get("/").map(drop),
        cx.nats("other").request("a.b", b"").map(drop),
        cx.nats("kept").request("a.b", b"").map(drop),
        cx.nats("asked").kv_get("k").map(drop),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(RuleError::Denied(_))), "{answer:?}");
    }
    assert!(cx.sql("orders").rows("granted", &[]).is_ok());
}

#[test]
fn a_statement_is_given_its_parameters_as_text() {
    let host = Host::new().sql("orders", "s", |params| {
        assert_eq!(params, [Some("7".to_owned()), Some("eur".to_owned()), None, Some("\\xff".to_owned())]);
        Ok(vec![])
    });
    let rows = host.context().sql("orders").rows("s", &[&7, &"eur", &None::<bool>, &[0xff_u8]]);
    assert_eq!(rows, Ok(vec![]));
}

#[test]
fn a_row_is_read_by_column_name() {
    let host = Host::new().sql("orders", "s", |_| Ok(vec![json!({"id": 7, "note": null, "tags": ["a"]})]));
    let row = host.context().sql("orders").row("s", &[]).expect("it is granted").expect("there is a row");
    assert_eq!(row.get::<u64>("id"), Ok(7));
    assert_eq!(row.get::<Option<String>>("note"), Ok(None));
    assert_eq!(row.get::<Vec<String>>("tags"), Ok(vec!["a".to_owned()]));
    assert!(is_permanent(&row.get::<String>("id"), "column id"));
    assert!(is_permanent(&row.get::<String>("note"), "column note"));
    assert!(is_permanent(&row.get::<Option<String>>("state"), "no column state"));
}

#[test]
fn one_row_becomes_a_struct_and_two_are_permanent() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Order {
        id: u64,
    }
    let host = Host::new()
        .sql("orders", "none", |_| Ok(vec![]))
        .sql("orders", "one", |_| Ok(vec![json!({"id": 7})]))
        .sql("orders", "two", |_| Ok(vec![json!({"id": 7}), json!({"id": 8})]))
        .sql("orders", "odd", |_| Ok(vec![json!({"id": "seven"})]));
    let cx = host.context();
    let orders = cx.sql("orders");
    assert_eq!(orders.one::<Order>("none", &[]), Ok(None));
    assert_eq!(orders.one("one", &[]), Ok(Some(Order { id: 7 })));
    assert!(is_permanent(&orders.one::<Order>("two", &[]), "statement two of sql.orders gave 2 rows"));
    assert!(is_permanent(&orders.row("two", &[]), "gave 2 rows"));
    assert!(is_permanent(&orders.one::<Order>("odd", &[]), "statement odd of sql.orders"));
    assert_eq!(orders.rows("two", &[]).map(|rows| rows.len()), Ok(2));
}

#[test]
fn a_request_arrives_as_it_was_made() {
    let host = Host::new().http("payments", |request| {
        Ok(mock::response(201, json!([request.method, request.path, request.headers, request.body.len()])))
    });
    let cx = host.context();
    let posted = cx.http("payments").post_json("/p", &json!({"id": 7})).expect("it is granted");
    assert_eq!(posted.json(), Ok(json!(["POST", "/p", [["content-type", "application/json"]], 8])));
    assert_eq!((posted.is_success(), posted.header("Content-Type")), (true, Some("application/json")));
    let put = Request::new("PUT", "/p?q=1").with_header("x-a", "b").with_body("abc");
    let put = cx.http("payments").send(put).expect("it is granted");
    assert_eq!(put.text(), Ok(r#"["PUT","/p?q=1",[["x-a","b"]],3]"#));
    assert!(is_permanent(&put.json::<u64>(), "status 201"));
}

#[test]
fn a_bucket_has_what_was_put_into_it() {
    let host = Host::new().kv("stock", "apples", "3").kv("stock", "pears", vec![0xff]);
    let cx = host.context();
    assert_eq!(cx.nats("stock").kv_get("apples"), Ok(Some(b"3".to_vec())));
    assert_eq!(cx.nats("stock").kv_get("plums"), Ok(None));
}

#[test]
fn settings_clock_and_log() {
    let host = Host::new().config("region", "eu").now_ms(5);
    let cx = host.context();
    assert_eq!((cx.config("region").as_deref(), cx.config("zone"), cx.now_ms()), (Some("eu"), None, 5));
    cx.debug("a");
    cx.info(1);
    cx.warn(format_args!("{}", "c"));
    cx.error('d');
    let lines: Vec<_> = host.logs().into_iter().map(|line| (line.level, line.text)).collect();
    let expected = [(Level::Debug, "a"), (Level::Info, "1"), (Level::Warn, "c"), (Level::Error, "d")];
    assert_eq!(lines, expected.map(|(level, text)| (level, text.to_owned())));
}

#[test]
fn a_message_tells_why_it_cannot_be_read() {
    let large: &Message = &mock::message("t", json!(1)).with_payload_too_large(300_000);
    assert!(is_permanent(&large.json::<u64>(), "300000 bytes"));
    assert!(is_permanent(&large.text(), "300000 bytes"));
    let binary = mock::message("t", json!(1)).with_payload(vec![0xff]);
    assert!(is_permanent(&binary.text(), "not text"));
    assert_eq!(mock::message("t", json!(1)).with_payload(vec![]).bytes(), Ok(&[][..]));
    let m = mock::message("t", json!(1)).with_header("b", "2").with_header("a", "1");
    assert_eq!((m.header("a"), m.header("B"), m.json::<u64>()), (Some("1"), None, Ok(1)));
}

#[test]
fn a_transaction_tells_which_message_it_lacks() {
    let tx: &Transaction = &mock::transaction_without_reference().message("t", json!(1));
    assert!(tx.message(0).is_ok());
    assert!(is_permanent(&tx.message(1), "has no message 1"));
    assert!(is_permanent(&tx.reference(), "without a reference"));
}
