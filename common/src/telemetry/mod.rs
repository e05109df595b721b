//! Logs on standard error, traces and metrics over OTLP.

mod levels;
mod metrics;
mod propagate;

use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Subscriber, warn};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::{EnvFilter, fmt};
use uuid::Uuid;

pub use metrics::Metrics;
pub use propagate::{current_traceparent, link, set_parent, traceparent_of};

/// The name of our instruments and spans at the receiver.
const SCOPE: &str = "syncline";

/// How long one export may take; afterwards it is given up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often metrics are sent.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);

/// Libraries whose spans are about the sending of telemetry itself, or only noise.
const NOT_TRACED: [&str; 5] = ["h2", "hyper", "hyper_util", "opentelemetry", "reqwest"];

/// What [`start`] needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The attribute `service.name`: `syncline-worker`.
    pub service_name: &'a str,
    /// The attribute `service.namespace`.
    pub service_namespace: &'a str,
    /// Where OTLP over HTTP goes, without `/v1/traces`; `None` for nowhere.
    pub otlp_endpoint: Option<&'a str>,
    /// Logs as one JSON object a line, and not for people.
    pub json_logs: bool,
    /// Directives of `EnvFilter`, for logs only.
    pub log_filter: &'a str,
}

/// Why there is no telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter cannot be read.
    #[error("the log filter makes no sense")]
    Filter(#[from] ParseError),
    /// The endpoint cannot be used. That nobody listens there is no error.
    #[error("the OTLP endpoint cannot be used")]
    Endpoint(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Something else in this process has taken the logs.
    #[error("telemetry was started twice")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sends what is still unsent when the process ends. Keep it until then.
#[derive(Debug)]
#[must_use = "the last spans are lost unless it is shut down"]
pub struct Guard {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
}

/// Starts the telemetry of this process.
///
/// Installs the global subscriber and meter; call it once, inside the runtime and after the TLS
/// provider is installed.
///
/// # Errors
///
/// When a setting makes no sense, or it was called before.
pub fn start(settings: Settings<'_>) -> Result<Guard, TelemetryError> {
    let (subscriber, guard) = build(settings)?;
    // Not `try_init`: that would also take what comes from the crate `log`. To ask whether such a
    // record is wanted leaves the verdict of our filters behind, and the next event of this thread is
    // judged by it: with any directive finer than info, lines after each SQL statement were lost.
    tracing::subscriber::set_global_default(subscriber)?;
    if let Some(meter) = &guard.meter {
        global::set_meter_provider(meter.clone());
    }
    Ok(guard)
}

impl Guard {
    /// Sends what is unsent. That it could not be sent is logged, and nothing else: it is no
    /// failure of the process.
    pub async fn shutdown(self) {
        // The exporters block: they would hold up the runtime.
        let finished = tokio::task::spawn_blocking(move || {
            let tracer = self.tracer.map(|t| t.shutdown_with_timeout(EXPORT_TIMEOUT));
            let meter = self.meter.map(|m| m.shutdown_with_timeout(EXPORT_TIMEOUT));
            told("traces", tracer);
            told("metrics", meter);
        })
        .await;
        if let Err(error) = finished {
            warn!(%error, "telemetry did not end well");
        }
    }

    /// Where the instruments of this process come from.
    pub fn meter(&self) -> Meter {
        match &self.meter {
            Some(provider) => provider.meter(SCOPE),
            None => global::meter(SCOPE),
        }
    }
}

fn told(signal: &str, outcome: Option<OTelSdkResult>) {
    if let Some(Err(error)) = outcome {
        warn!(signal, %error, "could not send the last telemetry");
    }
}

fn build(
    settings: Settings<'_>,
) -> Result<(impl Subscriber + Send + Sync + 'static, Guard), TelemetryError> {
    let mut guard = Guard { tracer: None, meter: None };
    if let Some(endpoint) = settings.otlp_endpoint {
        let endpoint = endpoint.trim_end_matches('/');
        let resource = resource(settings);
        let spans = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let points = MetricExporter::builder()
            .with_http()
            .with_endpoint(format!("{endpoint}/v1/metrics"))
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        guard.tracer = Some(
            SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_batch_exporter(spans)
                .build(),
        );
        guard.meter = Some(
            SdkMeterProvider::builder()
                .with_resource(resource)
                .with_reader(
                    PeriodicReader::builder(points).with_interval(METRICS_INTERVAL).build(),
                )
                .build(),
        );
    }
    let worth_tracing =
        NOT_TRACED.iter().fold(Targets::new().with_default(LevelFilter::INFO), |targets, name| {
            targets.with_target(*name, LevelFilter::OFF)
        });
    let traces = guard.tracer.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(SCOPE))
            // They would tell the folders of the machine that built the binary, and little else.
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(worth_tracing)
    });
    let subscriber = Registry::default()
        .with(logs(settings.json_logs).with_filter(log_filter(settings.log_filter)?))
        .with(traces);
    Ok((subscriber, guard))
}

fn logs<S>(json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(std::io::stderr);
    if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() }
}

fn log_filter(directives: &str) -> Result<EnvFilter, ParseError> {
    // Postgres tells of every "already exists, skipping"; a directive of the user's own wins.
    let quiet = format!("sqlx::postgres::notice=warn,{directives}");
    EnvFilter::builder().parse(quiet)
}

fn resource(settings: Settings<'_>) -> Resource {
    Resource::builder()
        .with_service_name(settings.service_name.to_owned())
        .with_attributes([
            KeyValue::new("service.namespace", settings.service_namespace.to_owned()),
            KeyValue::new("service.instance.id", Uuid::now_v7().to_string()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build()
}

#[cfg(test)]
mod tests;
