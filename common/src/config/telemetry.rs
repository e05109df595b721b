//! Logs, traces, metrics.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::error::Problems;

/// The section `telemetry`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where OTLP over HTTP goes, without `/v1/traces`; empty for nowhere.
    pub otlp_endpoint: String,
    /// The attribute `service.namespace`.
    pub service_namespace: String,
    /// How logs are written.
    pub log_format: LogFormat,
    /// Directives of tracing-subscriber's `EnvFilter`.
    pub log_filter: String,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        match name.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("is no format of logs: write text or json"),
        }
    }
}

impl TelemetryConfig {
    /// The endpoint, or `None` when nothing is to be sent.
    pub fn endpoint(&self) -> Option<&str> {
        (!self.otlp_endpoint.is_empty()).then_some(self.otlp_endpoint.as_str())
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let reachable = |endpoint: &str| {
            Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        problems.require(
            self.endpoint().is_none_or(reachable),
            "telemetry.otlp_endpoint",
            "is no address: write http://host:4318, or leave it empty to send nothing",
        );
        if let Err(error) = EnvFilter::builder().parse(&self.log_filter) {
            problems.add("telemetry.log_filter", format!("{error}: write info,common=debug"));
        }
    }
}
