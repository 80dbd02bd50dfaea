//! What a runtime exports, fetched and read as Prometheus does.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Everything of one fetch, by name; what belongs to a histogram stands under the histogram's name.
#[derive(Debug, Default)]
pub struct Exported(pub BTreeMap<String, Metric>);

/// One metric.
#[derive(Debug, Default)]
pub struct Metric {
    /// `counter`, `gauge` or `histogram`.
    pub sort: String,
    /// What it says of itself.
    pub help: Option<String>,
    /// All that there is of it.
    pub samples: Vec<Sample>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// `_bucket`, `_sum`, `_count`, or nothing.
    pub part: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// The settings that make a runtime serve them at this port.
pub fn config(port: u16) -> String {
    format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n")
}

/// A port that nobody uses now.
pub fn free_port() -> u16 {
    let bound = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.expect("loopback has a free port").port()
}

/// Fetches them; nothing while nobody answers.
pub async fn fetch(port: u16) -> Option<Exported> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.ok()?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await.ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.0 200").then(|| Exported::read(body))
}

impl Exported {
    /// Reads the text format.
    pub fn read(text: &str) -> Exported {
        let mut all = Exported::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next()) {
                (Some("#"), Some("HELP")) => {
                    let name = words.next().expect("help is of a metric").to_owned();
                    all.0.entry(name).or_default().help = words.next().map(str::to_owned);
                }
                (Some("#"), Some("TYPE")) => {
                    let name = words.next().expect("a sort is of a metric").to_owned();
                    all.0.entry(name).or_default().sort = words.next().expect("a sort has a name").to_owned();
                }
                _ => all.add(line),
            }
        }
        all
    }

    /// The sum over everything with these labels; 0 if there is nothing. Of a histogram, how many samples it has.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.part(name, labels, |part| part.is_empty() || part == "_count")
    }

    /// What the samples of a histogram add up to.
    pub fn total(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.part(name, labels, |part| part == "_sum")
    }

    fn part(&self, name: &str, labels: &[(&str, &str)], is_it: impl Fn(&str) -> bool) -> f64 {
        let samples = self.0.get(name).into_iter().flat_map(|metric| &metric.samples);
        let has = |s: &&Sample| labels.iter().all(|(name, value)| s.labels.get(*name).is_some_and(|v| v == value));
        samples.filter(|s| is_it(&s.part)).filter(has).map(|s| s.value).sum()
    }

    fn add(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let (full, labels) = series.split_once('{').unwrap_or((series, "}"));
        let parts = ["_bucket", "_sum", "_count"];
        let part = parts.iter().find(|p| full.strip_suffix(**p).is_some_and(|n| self.0.contains_key(n)));
        let part = part.copied().unwrap_or_default();
        let name = full.strip_suffix(part).expect("it ends so").to_owned();
        let sample = Sample {
            part: part.to_owned(),
            labels: labels_of(labels.strip_suffix('}').unwrap_or_else(|| panic!("no labels: {line}"))),
            value: value.parse().unwrap_or_else(|e| panic!("{line}: {e}")),
        };
        self.0.entry(name).or_default().samples.push(sample);
    }
}

/// `a="x",b="y"`; values may hold quotes, escaped.
fn labels_of(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| if c == 'n' { '\n' } else { c })),
                Some((at, '"')) => break at,
                Some((_, c)) => value.push(c),
                None => panic!("a value without an end: {text}"),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        text = &rest[end + 1..];
    }
    labels
}
