//! Metrics, for Prometheus to fetch. Parts count with the `metrics` facade; without this nothing is kept.

use std::net::SocketAddr;
use std::time::SystemTime;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde::Deserialize;

use crate::meters;

/// `[metrics]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where `/metrics` is served, such as `127.0.0.1:9187`; nowhere if absent.
    pub listen: Option<SocketAddr>,
    /// Addresses and networks that may fetch it, such as `10.0.0.0/8`; none: all that can reach it. Needed off loopback.
    pub allow: Vec<String>,
    /// So many topics, checkers, endpoints, plugins and bindings each are told by name: those of the configuration, then those that come first. All further
    /// ones are told as one.
    pub labels_max: usize,
}

/// A dashboard can still show a hundred.
impl Default for Config {
    fn default() -> Self {
        Self { listen: None, allow: Vec::new(), labels_max: 100 }
    }
}

/// From a call that never waits to one that reaches its deadline.
const SECONDS: &[f64] = &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
/// From an idle relay to one that a broker's outage has held up for an hour.
const LAG_SECONDS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0];
/// Batches, up to the largest that can be configured sensibly.
const ROWS: &[f64] = &[0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];

/// Serves `/metrics`, if that is configured. Before anything counts.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let Some(listen) = config.listen else {
        return Ok(());
    };
    let mut builder = PrometheusBuilder::new().with_http_listener(listen);
    for network in &config.allow {
        builder = builder.add_allowed_address(network).with_context(|| format!("metrics.allow: {network}"))?;
    }
    let lag = Matcher::Full("avouch_insert_to_ack_seconds".into());
    let builder = builder.set_buckets_for_metric(lag, LAG_SECONDS)?;
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?;
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_rows".into()), ROWS)?;
    builder.install().with_context(|| format!("metrics.listen = {listen}: choose a free address of this machine"))?;
    meters::describe();
    metrics::gauge!("avouch_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!("avouch_start_time_seconds").set(since.as_secs_f64());
    Ok(())
}
