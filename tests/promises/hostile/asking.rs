//! Guests that ask whatever a transaction tells them to: its id is the method, its reference the path, the subject or the
//! key, and its first message has the headers and the body.

use avouch_runtime::rules::{Answer, Fault, Message, Plugin, Rules, Transaction, Verdict};

use super::guest::{Guest, HTTP};

pub const NATS: &str = r#"
    (import "avouch:rules/nats@1.0.0" "request" (func $request (param i32 i32 i32 i32 i32 i32 i32)))
    (import "avouch:rules/nats@1.0.0" "kv-get" (func $kv_get (param i32 i32 i32 i32 i32)))"#;

/// Room for what is asked and what is answered.
const MEMORY: &str = "(memory (export \"memory\") 128)";

/// What a guest tells of an answer: it has one verdict for it.
#[derive(Clone, Copy, Debug)]
pub enum Tell {
    /// Rolls back with the body as the reason.
    Body,
    /// In progress: the status.
    Status,
    /// In progress: how many bytes the body has.
    Length,
    /// In progress: how many headers there are.
    Headers,
}

/// What to ask.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl<'a> Ask<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: Vec::new(), body: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn transaction(self, attempt: u32) -> Transaction {
        let message = Message {
            id: String::new(),
            topic: String::new(),
            key: None,
            payload_bytes: 0,
            payload: self.body,
            headers: self.headers,
            created_at_ms: 0,
            generation: 0,
        };
        Transaction {
            id: self.method.into(),
            checker: String::new(),
            reference: Some(self.path.into()),
            age_ms: 0,
            attempt,
            message_count: 1,
            messages: vec![message],
        }
    }
}

impl Guest {
    /// Asks `http:web`, and hands on errors.
    pub fn sending() -> Self {
        let say = |attempt: u32, value: &str| {
            format!(
                "(if (i32.eq (local.get $attempt) (i32.const {attempt})) (then
                    (local.set $i {value})
                    (i32.store (i32.const 2052) (i32.const 2)) (i32.store (i32.const 2056) (i32.const 1))
                    (i32.store (i32.const 2060) (local.get $i)) (return (i32.const 2048))))"
            )
        };
        let (status, length) = (say(1, "(i32.load16_u (i32.const 2052))"), say(2, "(i32.load (i32.const 2068))"));
        let count = say(3, "(i32.load (i32.const 2060))");
        let check = format!(
            "(call $send (i32.const 512) (i32.const 3)
                (local.get $id) (local.get $id_len) (local.get $ref) (local.get $ref_len)
                (i32.load offset=48 (local.get $messages)) (i32.load offset=52 (local.get $messages))
                (i32.load offset=28 (local.get $messages)) (i32.load offset=32 (local.get $messages))
                (i32.const 2048))
            (if (i32.load8_u (i32.const 2048)) (then (return (i32.const 2048))))
            {status} {length} {count}
            (i32.store (i32.const 2052) (i32.const 1))
            (i32.store (i32.const 2056) (i32.load (i32.const 2064)))
            (i32.store (i32.const 2060) (i32.load (i32.const 2068)))
            (i32.const 2048)"
        );
        let items = "(data (i32.const 512) \"web\")".into();
        Self { manifest: "[http.web]".into(), items, memory: MEMORY.into(), ..Self::importing(HTTP, &check) }
    }

    /// Asks `nats:bus`: a request, or from the second attempt on a key. Rolls back with what it was told, commits if there is
    /// nothing, and hands on errors.
    pub fn requesting() -> Self {
        let check = "
            (if (local.get $attempt) (then
                (call $kv_get (i32.const 512) (i32.const 3) (local.get $ref) (local.get $ref_len) (i32.const 2048))
                (return (i32.const 2048))))
            (call $request (i32.const 512) (i32.const 3) (local.get $ref) (local.get $ref_len)
                (i32.load offset=28 (local.get $messages)) (i32.load offset=32 (local.get $messages)) (i32.const 2048))
            (if (i32.load8_u (i32.const 2048)) (then (return (i32.const 2048))))
            (i32.store (i32.const 2060) (i32.load (i32.const 2056)))
            (i32.store (i32.const 2056) (i32.load (i32.const 2052)))
            (i32.store (i32.const 2052) (i32.const 1))
            (i32.const 2048)";
        let items = "(data (i32.const 512) \"bus\")".into();
        Self { manifest: "[nats.bus]".into(), items, memory: MEMORY.into(), ..Self::importing(NATS, check) }
    }
}

/// What came of one HTTP request.
pub async fn send(rules: &Rules, plugin: &Plugin, ask: Ask<'_>, tell: Tell) -> Answer {
    let attempt = match tell {
        Tell::Body => 0,
        Tell::Status => 1,
        Tell::Length => 2,
        Tell::Headers => 3,
    };
    rules.ask(plugin, &ask.transaction(attempt)).await
}

/// The number that a guest told.
pub fn number(answer: Answer) -> u32 {
    match answer.verdict {
        Ok(Verdict::InProgress(Some(number))) => number,
        other => panic!("no answer of the server but {other:?}"),
    }
}

/// What came of a request.
pub async fn request(rules: &Rules, plugin: &Plugin, subject: &str, body: Vec<u8>) -> Result<Verdict, Fault> {
    rules.ask(plugin, &Ask { body, ..Ask::get(subject) }.transaction(0)).await.verdict
}

/// What came of reading a key.
pub async fn kv_get(rules: &Rules, plugin: &Plugin, key: &str) -> Result<Verdict, Fault> {
    rules.ask(plugin, &Ask::get(key).transaction(1)).await.verdict
}
