//! The topics of the load, who must have them, and in which feed they are.

use crate::facts::Topic;

pub const PLACED: &str = "orders.placed";
pub const NOTED: &str = "orders.noted";
pub const LATER: &str = "orders.later";
pub const SETTLED: &str = "payments.settled";
pub const REFUSED: &str = "payments.refused";
pub const WELCOME: &str = "mails.welcome";

/// A topic with a rate is a feed of its own. More than the load needs: it is to be one, not to be late.
pub const RATED: (&str, u32) = (WELCOME, 500);

pub const PLAIN: &str = "plain";
pub const ONCE: &str = "once";
pub const GATE: &str = "gate";

/// Each with its patterns: a plain acknowledgement; an effect in the transaction of its record; one who asks.
pub const CONSUMERS: [(&str, &[&str]); 3] =
    [(PLAIN, &["orders.>"]), (ONCE, &["orders.>", "payments.>"]), (GATE, &["payments.>", "mails.>"])];

/// As the checker needs them.
pub fn all() -> Vec<Topic> {
    [PLACED, NOTED, LATER, SETTLED, REFUSED, WELCOME].map(topic).to_vec()
}

fn topic(name: &str) -> Topic {
    let family = name.split('.').next().unwrap_or_default();
    let takes = |patterns: &[&str]| patterns.iter().any(|pattern| pattern.strip_suffix(".>") == Some(family));
    let consumers = CONSUMERS.iter().filter(|(_, patterns)| takes(patterns)).map(|(who, _)| (*who).to_owned());
    let feed = if name == RATED.0 { name } else { "main" };
    Topic { name: name.to_owned(), feed: feed.to_owned(), consumers: consumers.collect() }
}
