//! Metrics, for Prometheus to fetch. Parts count with the `metrics` facade; without this nothing is kept.

use std::net::SocketAddr;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde::Deserialize;

/// `[metrics]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where `/metrics` is served, such as `127.0.0.1:9187`; nowhere if absent.
    pub listen: Option<SocketAddr>,
    /// Addresses and networks that may fetch it, such as `10.0.0.0/8`; none: all that can reach it. Needed off loopback.
    pub allow: Vec<String>,
}

/// From a call that never waits to one that reaches its deadline.
const SECONDS: &[f64] = &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Serves `/metrics`, if that is configured. Before anything counts.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let Some(listen) = config.listen else {
        return Ok(());
    };
    let mut builder = PrometheusBuilder::new().with_http_listener(listen);
    for network in &config.allow {
        builder = builder.add_allowed_address(network).with_context(|| format!("metrics.allow: {network}"))?;
    }
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?;
    builder.install().with_context(|| format!("metrics.listen = {listen}: choose a free address of this machine"))?;
    metrics::describe_counter!(
        "avouch_plugin_calls_total",
        "Calls of plugins, by outcome: answered, transient, permanent, broken."
    );
    metrics::describe_histogram!("avouch_plugin_call_seconds", "How long calls of plugins took.");
    Ok(())
}
