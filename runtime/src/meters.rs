//! What is counted: every metric's name, sort and meaning, in one table; and how many values a label may have.
//!
//! Whoever counts keeps its handles: a look-up is made once a batch, or where something is rare. Without an exporter all of it is nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Label};

use self::Sort::{Count, Size, Spread};

/// What sort of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// It only grows, until the process ends.
    Count,
    /// It is as it is now.
    Size,
    /// Many of them, by how large they were.
    Spread,
}

/// Each metric: its name with the unit last, its sort, what it tells. `docs/metrics.md` says the same at length.
const ALL: &[(&str, Sort, &str)] = &[
    ("avouch_build_info", Size, "1; the label tells the version."),
    ("avouch_start_time_seconds", Size, "When the process started, since 1970."),
    (
        "avouch_messages",
        Size,
        "Messages that have not ended, by state and topic; counted up to 10000 a state, by one instance.",
    ),
    (
        "avouch_oldest_seconds",
        Size,
        "How long the oldest message of a state and topic has been in it; told by one instance.",
    ),
    (
        "avouch_awaited_receipts",
        Size,
        "Receipts that are waited for, by consumer; counted up to 10000 messages, by one instance.",
    ),
    (
        "avouch_transactions",
        Size,
        "Transactions that are prepared or in doubt; counted up to 10000 a state, by one instance.",
    ),
    ("avouch_published_total", Count, "Messages that the broker has acknowledged to the relay."),
    (
        "avouch_publish_retries_total",
        Count,
        "Messages that were not acknowledged and are sent again under the same id, by why.",
    ),
    ("avouch_dead_total", Count, "Messages that died, by topic and class of cause."),
    ("avouch_publish_seconds", Spread, "From handing a message to the connection to its PubAck."),
    ("avouch_insert_to_ack_seconds", Spread, "From a message's insert to its PubAck: what users feel."),
    ("avouch_read_rows", Spread, "Rows of one read."),
    ("avouch_read_seconds", Spread, "How long reads took."),
    ("avouch_mark_rows", Spread, "Messages marked by one statement."),
    ("avouch_mark_seconds", Spread, "How long marks took."),
    ("avouch_safety_polls_total", Count, "Looks at what stands below the cursors."),
    ("avouch_sleep_answers_total", Count, "Wishes of the relay to sleep, by answer: granted, refused, deaf."),
    ("avouch_doorbell_rings_total", Count, "What the doorbell has told, by what it was about."),
    ("avouch_shards", Size, "Shards of the database."),
    ("avouch_shards_owned", Size, "Shards that this instance owns under a lease that runs."),
    ("avouch_instances", Size, "Instances with a lease."),
    ("avouch_shard_changes_total", Count, "Shards that this instance has taken, given back, or lost."),
    ("avouch_leases_lost_total", Count, "Leases that ran out before they were renewed."),
    ("avouch_database_connections", Size, "Open connections to Postgres, by use."),
    ("avouch_database_connections_made_total", Count, "Connections to Postgres that were made, by use."),
    ("avouch_database_connections_lost_total", Count, "Connections to Postgres that have ended, by use."),
    ("avouch_alarms_total", Count, "Alarms raised, by kind."),
    ("avouch_alarms_undelivered_total", Count, "Alarms that did not reach a sink."),
    ("avouch_receipts_total", Count, "Receipts, by consumer and kind of evidence."),
    ("avouch_resends_total", Count, "Messages that a consumer has missed and gets again, by consumer and cause."),
    ("avouch_resent_total", Count, "Messages that the broker has acknowledged for a consumer that missed them."),
    ("avouch_inbox_decisions_total", Count, "What consumers were told that asked whether they may act."),
    ("avouch_inbox_finishes_total", Count, "What came of what holders of tokens said."),
    ("avouch_verdicts_total", Count, "What checkers said of transactions; faults too."),
    ("avouch_transactions_settled_total", Count, "Transactions that check-back has ended, by outcome."),
    ("avouch_checker_broken", Size, "1 while the checker's breaker is open."),
    ("avouch_spans_sent_total", Count, "Spans that the collector has taken."),
    ("avouch_spans_dropped_total", Count, "Spans that nobody gets to see, by why."),
    ("avouch_plugin_calls_total", Count, "Calls of plugins, by outcome: answered, transient, permanent, broken."),
    ("avouch_plugin_call_seconds", Spread, "How long calls of plugins took."),
    ("avouch_plugin_computing_seconds", Spread, "How long calls of plugins computed, without what they waited for."),
    ("avouch_notify_attempts_total", Count, "Tries to tell endpoints, by endpoint and outcome."),
    ("avouch_notify_attempt_seconds", Spread, "How long tries to tell endpoints took."),
    (
        "avouch_notify_waiting",
        Size,
        "Messages that endpoints are to be told, by endpoint; counted up to 10000, by one instance.",
    ),
    (
        "avouch_notify_oldest_seconds",
        Size,
        "How long the oldest of them has waited, by endpoint; told by one instance.",
    ),
    ("avouch_notify_asks_total", Count, "Questions of receivers, by the status of the answer."),
    ("avouch_plugin_wait_seconds", Spread, "How long calls of plugins waited for their turn."),
    ("avouch_binding_connections_used", Size, "Connections of SQL bindings that queries of plugins use."),
    ("avouch_binding_wait_seconds", Spread, "How long queries of plugins waited for a connection of their binding."),
];

/// Says what each metric means, to whoever keeps them.
pub fn describe() {
    for (name, sort, what) in ALL {
        match sort {
            Count => metrics::describe_counter!(*name, *what),
            Size => metrics::describe_gauge!(*name, *what),
            Spread => metrics::describe_histogram!(*name, *what),
        }
    }
}

/// What names that nobody has bounded are called once there are too many of them. No topic and no checker of a plugin is called so.
pub const OTHER: &str = "(other)";

/// Names that nobody has bounded, as labels. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Names {
    max: usize,
    known: Arc<Mutex<BTreeSet<String>>>,
}

impl Names {
    /// The first `max` are told by name; those that are known already come first.
    pub fn new(max: usize, known: impl IntoIterator<Item = String>) -> Self {
        Self { max, known: Arc::new(Mutex::new(known.into_iter().take(max).collect())) }
    }

    /// The name, or what all further ones are called.
    pub fn label(&self, name: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(name) {
            if known.len() >= self.max {
                return OTHER.to_owned();
            }
            known.insert(name.to_owned());
        }
        name.to_owned()
    }
}

/// Where what is done with one database is counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scope {
    source: Arc<str>,
    topics: Names,
    checkers: Names,
    endpoints: Names,
}

impl Scope {
    /// Of this database. The first `labels_max` topics and checkers are told by name; those of the configuration come first.
    pub fn new(source: &str, labels_max: usize, topics: impl IntoIterator<Item = String>) -> Self {
        let names = || Names::new(labels_max, []);
        Self { source: source.into(), topics: Names::new(labels_max, topics), checkers: names(), endpoints: names() }
    }

    /// The database's name.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The topic, or what all further ones are called.
    pub fn topic(&self, topic: &str) -> String {
        self.topics.label(topic)
    }

    /// The checker, or what all further ones are called.
    pub fn checker(&self, checker: &str) -> String {
        self.checkers.label(checker)
    }

    /// The endpoint, or what all further ones are called.
    pub fn endpoint(&self, endpoint: &str) -> String {
        self.endpoints.label(endpoint)
    }

    /// This one with these labels.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        metrics::counter!(name, self.labels(labels))
    }

    /// This one with these labels.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        metrics::gauge!(name, self.labels(labels))
    }

    /// This one with these labels.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        metrics::histogram!(name, self.labels(labels))
    }

    /// What is counted of the connections for this use.
    pub fn connections(&self, of: &'static str) -> Connections {
        let labels: &[(&'static str, &str)] = &[("use", of)];
        Connections {
            open: self.gauge("avouch_database_connections", labels),
            made: self.counter("avouch_database_connections_made_total", labels),
            lost: self.counter("avouch_database_connections_lost_total", labels),
        }
    }

    /// A message is dead.
    pub fn dead(&self, topic: &str, class: &str) {
        let topic = self.topic(topic);
        self.counter("avouch_dead_total", &[("topic", &topic), ("class", class)]).increment(1);
    }

    fn labels(&self, labels: &[(&'static str, &str)]) -> Vec<Label> {
        let source = Label::new("source", self.source.to_string());
        [source].into_iter().chain(labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()))).collect()
    }
}

/// What is counted of connections to Postgres.
#[derive(Clone, Debug)]
pub struct Connections {
    open: Gauge,
    made: Counter,
    lost: Counter,
}

impl Connections {
    /// One was made; it ends when what is returned is dropped.
    pub fn opened(&self) -> Open {
        self.made.increment(1);
        self.open.increment(1.0);
        Open(self.clone())
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Open(Connections);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.decrement(1.0);
        self.0.lost.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_told_as_one() {
        let scope = Scope::new("main", 2, ["configured".to_owned()]);
        assert_eq!(scope.topic("first"), "first");
        assert_eq!([scope.topic("second"), scope.topic("third")], [OTHER, OTHER]);
        assert_eq!([scope.topic("configured"), scope.topic("first")], ["configured", "first"]);
        assert_eq!(scope.checker("second"), "second", "checkers are bounded by themselves");
        assert_eq!(Scope::new("main", 0, []).topic("any"), OTHER);
    }

    #[test]
    fn names_say_their_sort_and_unit() {
        for (name, sort, what) in ALL {
            assert!(name.starts_with("avouch_") && what.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), *sort == Count, "{name}");
            let has_unit = name.ends_with("_seconds") || name.ends_with("_rows");
            assert!(has_unit || *sort != Spread, "{name} has no unit");
        }
        assert_eq!(ALL.iter().map(|(name, ..)| name).collect::<BTreeSet<_>>().len(), ALL.len(), "one twice");
    }
}
