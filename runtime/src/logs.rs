//! Logging: for people in a terminal, as JSON lines elsewhere.

use std::io::IsTerminal as _;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `human` in a terminal, else `json`.
    #[default]
    Auto,
    /// Readable lines.
    Human,
    /// One JSON object a line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How a log line looks.
    pub form: Form,
    /// What is logged, as `level` or `target=level,…`.
    pub filter: String,
}

/// The NATS client repeats at `info` what this program says itself.
impl Default for Config {
    fn default() -> Self {
        Self { form: Form::Auto, filter: "info,async_nats=warn".into() }
    }
}

/// Starts logging to standard error. An unreadable filter is an error; a second call is too.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|e| {
        anyhow::anyhow!(
            "log.filter {:?} cannot be read: {e}; write \"info\" or \"avouch_runtime=debug\"",
            config.filter
        )
    })?;
    let human = match config.form {
        Form::Auto => std::io::stderr().is_terminal(),
        Form::Human => true,
        Form::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if human {
        builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|e| anyhow::anyhow!("logging cannot be started: {e}"))
}
