//! `avouch status` and `avouch config check`: they look and change nothing.

use clap::Subcommand;
use serde_json::{Value, json};

use super::operator::{Form, Operator};
use super::tell::escape;
use super::times::{shown, span};
use crate::alarm;
use crate::broker::streams;
use crate::config::Config;
use crate::store;
use crate::store::views::{Hold, Instance, Lost, Status, TroubledEndpoint};

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what the configuration means, or what is wrong with it
    Check,
}

/// Explains a valid configuration; secrets show only where they come from.
pub fn config(config: &Config, form: Form) -> anyhow::Result<()> {
    config.topics()?;
    alarm::sinks(&config.alarm, "")?;
    form.tell(&document(config), || explained(config))
}

fn document(config: &Config) -> Value {
    let source = |(name, source): (&String, &store::Config)| {
        let is_readable = source.url.reveal().is_ok();
        json!({ "name": name, "url": format!("{:?}", source.url), "is_readable": is_readable })
    };
    let stream = |(i, (name, stream)): (usize, (String, streams::Config))| json!({ "name": name, "subjects": format!("{}.>", stream.subject_prefix), "is_default": i == 0 });
    let sink = |sink: &alarm::Config| {
        let kinds: Vec<&str> = sink.kinds.iter().map(|kind| kind.name()).collect();
        json!({ "name": sink.name(), "sort": sink.sort(), "kinds": kinds })
    };
    json!({
        "is_valid": true,
        "sources": config.source.iter().map(source).collect::<Vec<_>>(),
        "nats": format!("{:?}", config.nats.url),
        "streams": config.streams().into_iter().enumerate().map(stream).collect::<Vec<_>>(),
        "topics": config.topic.keys().collect::<Vec<_>>(),
        "alarms": config.alarm.iter().map(sink).collect::<Vec<_>>(),
    })
}

fn explained(config: &Config) -> String {
    let mut lines = vec!["The configuration is valid.".to_owned()];
    if config.source.is_empty() {
        lines.push(
            "source: none; `avouch run` needs one: [source.main] url, AVOUCH_SOURCE__MAIN__URL, or --database-url"
                .into(),
        );
    }
    for (name, source) in &config.source {
        let url = source.url.reveal().map(|_| "can be read").unwrap_or("CANNOT be read");
        lines.push(format!("source {name}: {:?} ({url}), doorbell {:?}", source.url, config.doorbell.mode));
    }
    lines.push(format!("nats: {:?}", config.nats.url));
    for (i, (name, stream)) in config.streams().iter().enumerate() {
        let default = if i == 0 { ", the default" } else { "" };
        lines.push(format!("stream {name}: subjects {}.>, {:?}{default}", stream.subject_prefix, stream.manage));
    }
    lines.extend(config.topic.iter().map(|(name, topic)| format!("topic {name}: {topic:?}")));
    for sink in &config.alarm {
        let takes = match &sink.kinds[..] {
            [] => "everything".to_owned(),
            kinds => kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
        };
        lines.push(format!("alarm {}: {}, takes {takes}", sink.name(), sink.sort()));
    }
    lines.push(format!("everything else:\n{config:#?}"));
    lines.join("\n")
}

/// Shows how it goes.
pub async fn status(operator: &Operator) -> anyhow::Result<()> {
    let status = operator.store.status().await?;
    operator.tell(&status, || readable(&status))
}

/// The store counts up to ten thousand and one.
pub fn counted(count: i64) -> String {
    if count > 10_000 { "more than 10000".to_owned() } else { count.to_string() }
}

fn readable(s: &Status) -> String {
    let mut lines = vec![
        format!(
            "waiting      {} ready, oldest {}; {} delayed; {} prepared; {} sent and not received",
            counted(s.ready),
            span(s.oldest_unsent_s.unwrap_or(0.0)),
            counted(s.delayed),
            counted(s.prepared),
            counted(s.waiting)
        ),
        format!("needs you    {} dead, {} transactions in doubt", counted(s.dead), counted(s.in_doubt)),
        format!("shards       {}, {} without an owner", s.shards, s.shards_without_owner),
    ];
    for i in &s.instances {
        lines.push(instance(i));
        lines.extend(i.trouble.as_deref().map(|trouble| format!("  trouble    {}", escape(trouble))));
    }
    if s.instances.is_empty() {
        lines.push("runtime      none in the last ten minutes: start `avouch run`".into());
    }
    lines.extend(s.losses.iter().map(lost));
    lines.extend(s.holds.iter().map(held));
    lines.extend(s.endpoints.iter().map(troubled));
    lines.join("\n") + "\n"
}

fn instance(i: &Instance) -> String {
    format!(
        "runtime      {} {} ({}): {} shards, {:.0} sent/s, {:.0} inserted/s, {} sent in all",
        escape(&i.name),
        escape(&i.version),
        lease(i),
        i.shards.len(),
        i.sent_per_s,
        i.inserted_per_s,
        i.sent_total
    )
}

/// Whether it lives, as far as the database knows.
pub fn lease(i: &Instance) -> String {
    if i.lease_s > 0.0 { "alive".to_owned() } else { format!("SILENT for {}", span(-i.lease_s)) }
}

fn lost(l: &Lost) -> String {
    let left = if l.shards_left == 0 { String::new() } else { format!(", {} shards to do", l.shards_left) };
    let (stream, reason) = (escape(&l.stream), escape(&l.reason));
    format!("lost         {} {stream}: {reason}; {} sent again{left}", shown(l.noticed_at), l.requeued)
}

fn held(h: &Hold) -> String {
    let why = h.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", escape(reason)));
    let how = h.message_id.map_or_else(|| "paused".to_owned(), |id| format!("parked behind dead message {id}"));
    format!("held         {} {} ({how}){why}", escape(&h.kind), escape(&h.name))
}

fn troubled(e: &TroubledEndpoint) -> String {
    let mut parts = Vec::new();
    if e.state == "disabled" {
        parts.push(format!("disabled: {}", escape(e.reason.as_deref().unwrap_or_default())));
    }
    parts.extend(e.failing_since.map(|at| format!("failing since {}", shown(at))));
    if e.given_up > 0 {
        parts.push(format!(
            "{} given up lately",
            if e.given_up > 1_000 { "more than 1000".into() } else { e.given_up.to_string() }
        ));
    }
    format!("endpoint     {}: {}", escape(&e.name), parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capped_counts_say_so() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "ready": 10001, "delayed": 0, "prepared": 0, "waiting": 0, "dead": 3, "in_doubt": 0, "oldest_unsent_s": null, "shards": 1,
            "shards_without_owner": 0, "instances": [], "losses": [], "holds": [],
            "endpoints": [{"name": "m17", "state": "disabled", "reason": "it \u{1b}[2J answers 410", "failing_since": null, "given_up": 1001}]
        }))
        .expect("is a status");
        let text = readable(&status);
        assert!(text.contains("more than 10000 ready") && text.contains("3 dead"), "{text}");
        assert!(text.contains("m17: disabled: it \\u{1b}[2J answers 410; more than 1000 given up lately"), "{text}");
    }
}
