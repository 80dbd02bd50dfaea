//! `avouch status` and `avouch config check`: they look and change nothing.

use clap::Subcommand;
use serde_json::Value;

use super::operate::connect;
use crate::alarm;
use crate::config::Config;
use crate::store::connect::Target;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what the configuration means, or what is wrong with it
    Check,
}

/// Explains a valid configuration; secrets show only where they come from.
pub fn config(config: &Config) -> anyhow::Result<()> {
    config.topics()?;
    alarm::sinks(&config.alarm, "")?;
    println!("The configuration is valid.");
    if config.source.is_empty() {
        println!(
            "source: none; `avouch run` needs one: [source.main] url, AVOUCH_SOURCE__MAIN__URL, or --database-url"
        );
    }
    for (name, source) in &config.source {
        let url = source.url.reveal().map(|_| "can be read").unwrap_or("CANNOT be read");
        println!("source {name}: {:?} ({url}), doorbell {:?}", source.url, config.doorbell.mode);
    }
    println!("nats: {:?}", config.nats.url);
    for (i, (name, stream)) in config.streams().iter().enumerate() {
        let default = if i == 0 { ", the default" } else { "" };
        println!("stream {name}: subjects {}.>, {:?}{default}", stream.subject_prefix, stream.manage);
    }
    for (name, topic) in &config.topic {
        println!("topic {name}: {topic:?}");
    }
    for sink in &config.alarm {
        let takes = match &sink.kinds[..] {
            [] => "everything".to_owned(),
            kinds => kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
        };
        println!("alarm {}: {}, takes {takes}", sink.name(), sink.sort());
    }
    println!("everything else:\n{config:#?}");
    Ok(())
}

/// Shows how it goes.
pub async fn status(target: &Target, json: bool) -> anyhow::Result<()> {
    let client = connect(target).await?;
    let text: String = client.query_one(include_str!("../store/status.sql"), &[]).await?.get(0);
    let status: Value = serde_json::from_str(&text)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", readable(&status));
    }
    Ok(())
}

fn readable(s: &Value) -> String {
    let number = |v: &Value| v.as_f64().unwrap_or(0.0);
    let count = |name: &str| match s[name].as_u64() {
        Some(n) if n > 10_000 => "more than 10000".to_owned(),
        Some(n) => n.to_string(),
        None => "?".to_owned(),
    };
    let mut lines = vec![
        format!(
            "waiting      {} ready, oldest {:.1} s; {} delayed; {} prepared",
            count("ready"),
            number(&s["oldest_unsent_s"]),
            count("delayed"),
            count("prepared")
        ),
        format!("needs you    {} dead, {} transactions in doubt", count("dead"), count("in_doubt")),
        format!("shards       {}, {} without an owner", s["shards"], s["shards_without_owner"]),
    ];
    let rows = |name: &str| s[name].as_array().cloned().unwrap_or_default();
    for i in rows("instances") {
        let lease = number(&i["lease_s"]);
        let alive = if lease > 0.0 { "alive".to_owned() } else { format!("SILENT for {:.0} s", -lease) };
        let owned = i["shards"].as_array().map_or(0, Vec::len);
        lines.push(format!(
            "runtime      {} {} ({alive}): {owned} shards, {:.0} sent/s, {:.0} inserted/s, {} sent in all",
            plain(&i["name"]),
            plain(&i["version"]),
            number(&i["sent_per_s"]),
            number(&i["inserted_per_s"]),
            i["sent_total"]
        ));
        if let Some(trouble) = i["trouble"].as_str() {
            lines.push(format!("  trouble    {}", escape(trouble)));
        }
    }
    if rows("instances").is_empty() {
        lines.push("runtime      none in the last ten minutes: start `avouch run`".into());
    }
    for l in rows("losses") {
        let left = match l["shards_left"].as_u64() {
            Some(0) | None => String::new(),
            Some(left) => format!(", {left} shards to do"),
        };
        lines.push(format!(
            "lost         {} {}: {}; {} sent again{left}",
            plain(&l["noticed_at"]),
            plain(&l["stream"]),
            plain(&l["reason"]),
            l["requeued"]
        ));
    }
    for h in rows("holds") {
        let why = h["reason"].as_str().map(|r| format!(": {}", escape(r))).unwrap_or_default();
        let how = h["message_id"]
            .as_str()
            .map_or_else(|| "paused".to_owned(), |id| format!("parked behind dead message {id}"));
        lines.push(format!("held         {} {} ({how}){why}", plain(&h["kind"]), plain(&h["name"])));
    }
    lines.join("\n") + "\n"
}

fn plain(value: &Value) -> String {
    escape(value.as_str().unwrap_or("?"))
}

/// Keys and reasons come from outside: control characters must not reach the terminal.
pub fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_do_not_reach_the_terminal() {
        assert_eq!(escape("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn capped_counts_say_so() {
        let status: Value = serde_json::json!({"ready": 10001, "dead": 3});
        let text = readable(&status);
        assert!(text.contains("more than 10000 ready") && text.contains("3 dead"), "{text}");
    }
}
