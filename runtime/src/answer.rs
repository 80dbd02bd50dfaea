//! What the services answer: JSON, and errors that programs can tell apart.

use serde::Serialize;
use serde_json::json;

use crate::broker::{self, Request};
use crate::store::Error;
use crate::store::control::Refusal;

/// What the producer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Correct the program: the request cannot be read.
    Invalid,
    /// There is none.
    NotFound,
    /// Something else has this name.
    Conflict,
    /// Correct the message: it breaks a rule of the outbox.
    Refused,
    /// Repeat it later.
    Unavailable,
}

impl Code {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Refused => 422,
            Self::Unavailable => 503,
        }
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What to do next.
    pub code: Code,
    message: String,
    rule: Option<String>,
}

/// Texts hold what was asked, which may be long.
const MESSAGE_CHARS_MAX: usize = 500;

impl Fault {
    /// A fault; the message names the remedy.
    pub fn new(code: Code, message: String) -> Self {
        let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        Self { code, message, rule: None }
    }

    /// What is wrong, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A request that cannot be read.
    pub fn invalid(message: String) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// A broken rule.
    pub fn rule(rule: &str, message: String) -> Self {
        Self { rule: Some(rule.to_owned()), ..Self::new(Code::Refused, message) }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rule { rule, why } => Self::rule(&rule, why),
            Refusal::Conflict(why) => Self::new(Code::Conflict, why),
            Refusal::Invalid(why) => Self::invalid(why),
            Refusal::Store(e) => e.into(),
        }
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        match e {
            Error::Refused(refusal) => Self::invalid(refusal.to_string()),
            Error::Retry(why) => {
                tracing::debug!(why, "a request has trouble with the database");
                Self::new(Code::Unavailable, "the database does not answer: repeat it later".into())
            }
            Error::Fatal(why) => {
                tracing::error!(why, "requests cannot be served: `avouch schema install` mends grants");
                Self::new(Code::Unavailable, "the database refuses the runtime: see its log, then repeat it".into())
            }
        }
    }
}

impl From<broker::Error> for Fault {
    fn from(e: broker::Error) -> Self {
        match e {
            broker::Error::Retry(why) => {
                tracing::debug!(why, "a request has trouble with the broker");
                Self::new(Code::Unavailable, "JetStream does not answer: repeat it later".into())
            }
            broker::Error::Fatal(why) => {
                tracing::error!(why, "requests cannot be served");
                Self::new(
                    Code::Unavailable,
                    "what is recorded cannot be used: see the runtime's log, then repeat it".into(),
                )
            }
        }
    }
}

/// Answers a request.
pub async fn send<T: Serialize>(request: &Request, answer: Result<T, Fault>) {
    let written = answer.and_then(|value| {
        // Only a fault of ours writes what is no JSON.
        let broken = |e| Fault::new(Code::Unavailable, format!("the answer cannot be written: {e}"));
        serde_json::to_vec(&value).map_err(broken)
    });
    match written {
        Ok(body) => request.answer(body).await,
        Err(fault) => refuse(request, &fault).await,
    }
}

/// Says why a request is not carried out.
pub async fn refuse(request: &Request, fault: &Fault) {
    let mut error = json!({ "code": fault.code.name(), "message": fault.message });
    if let Some(rule) = &fault.rule {
        error["rule"] = json!(rule);
    }
    let body = json!({ "error": error }).to_string().into_bytes();
    request.refuse(fault.code.status(), &fault.message, body).await;
}
