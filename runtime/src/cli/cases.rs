//! The cases of `avouch plugin test`: what a plugin is asked in each, and whether it answers as expected.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::tell::escape;
use crate::rules::{
    Answer, Delivery, Fault, Line, Message, NotificationResponse, Outcome, Plugin, Rules, ShapedRequest, Transaction,
    Verdict,
};

/// One question, and the answer that is expected.
pub struct Case {
    name: String,
    question: Question,
    expect: String,
}

/// What was answered in one case.
#[derive(Debug, Serialize)]
pub struct Tried {
    name: String,
    expect: String,
    /// Whether it is what was expected.
    #[serde(rename = "fine")]
    pub is_fine: bool,
    answer: &'static str,
    text: String,
    took_us: u64,
    log: Vec<Said>,
}

#[derive(Debug, Serialize)]
struct Said {
    level: String,
    text: String,
}

enum Question {
    Check(AboutTransaction),
    /// With the body that is expected, if that matters.
    Shape(AboutDelivery, Option<String>),
    Read(AboutDelivery, AboutResponse),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    name: String,
    transaction: Option<AboutTransaction>,
    delivery: Option<AboutDelivery>,
    response: Option<AboutResponse>,
    /// Of what is shaped.
    body: Option<String>,
    /// `commit`, `rollback`, `in-progress`, `unknown`; `shaped`; `delivered`, `retry`, `give-up`; `error`.
    expect: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutTransaction {
    reference: Option<String>,
    #[serde(default)]
    age_ms: u64,
    #[serde(default)]
    attempt: u32,
    #[serde(default)]
    messages: Vec<AboutMessage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutDelivery {
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    attempt: u32,
    message: AboutMessage,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutResponse {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    body_is_cut: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutMessage {
    topic: String,
    key: Option<String>,
    payload: serde_json::Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// The cases of a JSON text; at least one.
pub fn read(text: &str) -> anyhow::Result<Vec<Case>> {
    let written: Vec<Written> = serde_json::from_str(text)?;
    if written.is_empty() {
        bail!("there is no case in it: nothing was tested");
    }
    written.into_iter().enumerate().map(|(i, written)| written.case(i + 1)).collect()
}

impl Written {
    fn case(self, number: usize) -> anyhow::Result<Case> {
        let name = if self.name.is_empty() { format!("case {number}") } else { self.name };
        let question = match (self.transaction, self.delivery, self.response, self.body) {
            (Some(transaction), None, None, None) => Question::Check(transaction),
            (None, Some(delivery), None, body) => Question::Shape(delivery, body),
            (None, Some(delivery), Some(response), None) => Question::Read(delivery, response),
            _ => bail!(
                "{name}: write a transaction; or a delivery, with the body that is shaped or the response that is read"
            ),
        };
        Ok(Case { name, question, expect: self.expect })
    }
}

impl Case {
    /// Asks, and compares what was answered.
    pub async fn try_on(&self, rules: &Rules, plugin: &Plugin) -> Tried {
        match &self.question {
            Question::Check(about) => {
                let answer = rules.ask(plugin, &transaction(plugin.name(), about)).await;
                self.tried(answer, of_verdict, |_| true)
            }
            Question::Shape(about, body) => {
                let answer = rules.shape(plugin, &delivery(about)).await;
                self.tried(answer, of_request, |r| body.as_ref().is_none_or(|body| r.body == body.as_bytes()))
            }
            Question::Read(about, response) => {
                let answer = rules.read(plugin, &delivery(about), &answered(response)).await;
                self.tried(answer, of_outcome, |_| true)
            }
        }
    }

    fn tried<T>(
        &self,
        answer: Answer<T>,
        words: fn(&T) -> (&'static str, String),
        is_same: impl Fn(&T) -> bool,
    ) -> Tried {
        let (word, text) = match &answer.verdict {
            Ok(given) => words(given),
            Err(fault) => of_fault(fault),
        };
        Tried {
            name: self.name.clone(),
            expect: self.expect.clone(),
            is_fine: word == self.expect && answer.verdict.as_ref().ok().is_none_or(is_same),
            answer: word,
            text,
            took_us: u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
            log: answer.log.iter().map(Said::of).collect(),
        }
    }
}

impl Said {
    fn of(line: &Line) -> Self {
        Self { level: line.level.to_string(), text: line.text.clone() }
    }
}

impl Tried {
    /// For people: a line, and what the plugin said below it.
    pub fn told(&self) -> String {
        let mark = if self.is_fine { "ok  " } else { "FAIL" };
        let wanted = match self.is_fine {
            true => String::new(),
            false if self.answer == self.expect => ", expected another body".to_owned(),
            false => format!(", expected {}", self.expect),
        };
        let Self { name, answer, text, took_us, .. } = self;
        let mut told = format!("{mark} {name}: {answer} {} ({took_us} us){wanted}\n", escape(text));
        for line in &self.log {
            told += &format!("       {} {}\n", line.level, escape(&line.text));
        }
        told
    }
}

fn of_fault(fault: &Fault) -> (&'static str, String) {
    ("error", fault.to_string())
}

fn of_verdict(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Commit => ("commit", String::new()),
        Verdict::Rollback(why) => ("rollback", why.clone()),
        Verdict::InProgress(after) => ("in-progress", pause(*after)),
        Verdict::Unknown(after) => ("unknown", pause(*after)),
    }
}

fn of_request(request: &ShapedRequest) -> (&'static str, String) {
    let path = request.path.as_deref().unwrap_or_default();
    let body = String::from_utf8_lossy(&request.body);
    ("shaped", format!("{path} {} headers, {} bytes: {body}", request.headers.len(), request.body.len()))
}

fn of_outcome(outcome: &Outcome) -> (&'static str, String) {
    match outcome {
        Outcome::Delivered => ("delivered", String::new()),
        Outcome::Retry(after) => ("retry", pause(*after)),
        Outcome::GiveUp(why) => ("give-up", why.clone()),
    }
}

fn pause(after_ms: Option<u32>) -> String {
    after_ms.map_or_else(String::new, |ms| format!("{ms} ms"))
}

fn transaction(checker: &str, about: &AboutTransaction) -> Transaction {
    Transaction {
        id: uuid::Uuid::now_v7().to_string(),
        checker: checker.to_owned(),
        reference: about.reference.clone(),
        age_ms: about.age_ms,
        attempt: about.attempt,
        message_count: u32::try_from(about.messages.len()).unwrap_or(u32::MAX),
        messages: about.messages.iter().map(message).collect(),
    }
}

fn delivery(about: &AboutDelivery) -> Delivery {
    Delivery {
        endpoint: about.endpoint.clone(),
        tenant: about.tenant.clone(),
        attempt: about.attempt,
        message: message(&about.message),
    }
}

fn answered(about: &AboutResponse) -> NotificationResponse {
    let headers = about.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    NotificationResponse {
        status: about.status,
        headers: headers.collect(),
        body: about.body.clone().into_bytes(),
        body_is_cut: about.body_is_cut,
    }
}

fn message(about: &AboutMessage) -> Message {
    let payload = match &about.payload {
        serde_json::Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    };
    Message {
        id: uuid::Uuid::now_v7().to_string(),
        topic: about.topic.clone(),
        key: about.key.clone(),
        payload_bytes: u64::try_from(payload.len()).unwrap_or(u64::MAX),
        payload,
        headers: about.headers.clone().into_iter().collect(),
        created_at_ms: 0,
        generation: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_asks_one_question() {
        let message = r#"{"topic": "t", "payload": {}}"#;
        let of = |fields: &str| read(&format!("[{{{fields}, \"expect\": \"x\"}}]")).map(|cases| cases.len());
        for fields in [
            r#""transaction": {}"#.to_owned(),
            format!(r#""delivery": {{"message": {message}}}"#),
            format!(r#""delivery": {{"message": {message}}}, "body": "a=b""#),
            format!(r#""delivery": {{"message": {message}}}, "response": {{"status": 200}}"#),
        ] {
            assert!(matches!(of(&fields), Ok(1)), "{fields}");
        }
        for fields in [
            r#""name": "none""#.to_owned(),
            r#""transaction": {}, "body": "a""#.to_owned(),
            r#""response": {"status": 200}"#.to_owned(),
            format!(r#""transaction": {{}}, "delivery": {{"message": {message}}}"#),
            format!(r#""delivery": {{"message": {message}}}, "response": {{"status": 200}}, "body": "a""#),
            r#""delivery": {}"#.to_owned(),
        ] {
            assert!(of(&fields).is_err(), "{fields}");
        }
        assert!(read("[]").is_err_and(|why| why.to_string().contains("no case")));
    }
}
