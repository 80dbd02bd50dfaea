//! A plugin with every rule, good and bad: its notification does what the message says, so that the host can be tried.

use avouch_sdk::prelude::*;

avouch_sdk::manifest!("plugin.toml");

#[check_back]
fn check(_tx: &Transaction, _cx: &Context) -> Result<Verdict, RuleError> {
    Ok(Verdict::Commit)
}

#[idempotency]
mod same {
    use avouch_sdk::prelude::*;

    #[identify]
    fn identify(consumer: &str, m: &Message, _cx: &Context) -> Result<Identity, RuleError> {
        Ok(Identity::key(format!("{consumer}/{}", m.id)))
    }
}

#[notification]
mod told {
    use avouch_sdk::prelude::*;
    use serde::Deserialize;
    use serde_json::{Value, json};

    /// What the message's payload says.
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Order {
        act: Act,
        /// What is shaped; none: what `shape` was given, as JSON.
        path: Option<String>,
        headers: Vec<(String, String)>,
        body_bytes: Option<usize>,
        /// What is answered; none: what `read` was given, as the reason to give up.
        outcome: Option<Word>,
        ms: Option<u32>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Act {
        #[default]
        Answer,
        Trap,
        Loop,
        Grow,
        BeDenied,
        BeTransient,
        BePermanent,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        Delivered,
        Retry,
        GiveUpAtLength,
    }

    #[shape]
    fn shape(d: &Delivery, cx: &Context) -> Result<Shaped, RuleError> {
        let order: Order = d.message.json()?;
        act(&order.act, cx)?;
        let shaped = match order.body_bytes {
            Some(bytes) => Shaped::body("text/plain", vec![b'x'; bytes]),
            None => Shaped::json(&given(d))?,
        };
        Ok(Shaped { path: order.path, headers: [shaped.headers, order.headers].concat(), ..shaped })
    }

    #[read]
    fn read(d: &Delivery, r: &NotificationResponse, cx: &Context) -> Result<Outcome, RuleError> {
        let order: Order = d.message.json()?;
        act(&order.act, cx)?;
        Ok(match order.outcome {
            Some(Word::Delivered) => Outcome::Delivered,
            Some(Word::Retry) => Outcome::Retry(order.ms),
            Some(Word::GiveUpAtLength) => Outcome::give_up("\0".repeat(100_000)),
            None => Outcome::give_up(
                json!([given(d), r.status, r.headers.len(), r.headers.first(), r.body.len(), r.body_is_cut])
                    .to_string(),
            ),
        })
    }

    fn given(d: &Delivery) -> Value {
        json!([d.endpoint, d.tenant, d.attempt, d.message.id, d.message.topic, d.message.key, d.message.headers])
    }

    fn act(act: &Act, cx: &Context) -> Result<(), RuleError> {
        match act {
            Act::Answer => Ok(()),
            Act::Trap => panic!("it was told to"),
            Act::Loop => loop {
                std::hint::black_box(());
            },
            Act::Grow => {
                let all: Vec<Vec<u8>> = (0..100).map(|n| vec![n; 1 << 20]).collect();
                Err(RuleError::permanent(format!("it has {} MiB", std::hint::black_box(all).len())))
            }
            Act::BeDenied => {
                cx.warn("it asks for the moon");
                Err(RuleError::Denied("the moon".to_owned()))
            }
            Act::BeTransient => Err(RuleError::transient("not now")),
            Act::BePermanent => Err(RuleError::permanent("never")),
        }
    }
}
