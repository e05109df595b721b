//! Telemetry as a receiver of OTLP gets it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{info, info_span};

use super::*;

/// What a receiver was sent.
#[derive(Clone, Default)]
struct Received {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

impl Received {
    fn span(&self, name: &str) -> Span {
        let traces = self.traces.lock().unwrap();
        let mut spans = traces
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans);
        spans.find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}")).clone()
    }

    fn resource(&self) -> BTreeMap<String, String> {
        let traces = self.traces.lock().unwrap();
        texts(&traces[0].resource_spans[0].resource.as_ref().unwrap().attributes)
    }

    fn metrics(&self) -> Vec<Metric> {
        let metrics = self.metrics.lock().unwrap();
        metrics
            .iter()
            .flat_map(|request| &request.resource_metrics)
            .flat_map(|resource| &resource.scope_metrics)
            .flat_map(|scope| scope.metrics.clone())
            .collect()
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    };
    attributes.iter().filter_map(|a| Some((a.key.clone(), text(a)?))).collect()
}

async fn receive_traces(State(received): State<Received>, body: Bytes) {
    received.traces.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
}

async fn receive_metrics(State(received): State<Received>, body: Bytes) {
    received.metrics.lock().unwrap().push(ExportMetricsServiceRequest::decode(body).unwrap());
}

/// A receiver on a free port, and its address. It ends with the tasks.
async fn receiver(tasks: &mut JoinSet<()>) -> (Received, String) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let received = Received::default();
    let router = Router::new()
        .route("/v1/traces", post(receive_traces))
        .route("/v1/metrics", post(receive_metrics))
        .with_state(received.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (received, endpoint)
}

fn settings(endpoint: Option<&str>) -> Settings<'_> {
    Settings {
        service_name: "syncline-test",
        service_namespace: "tests",
        otlp_endpoint: endpoint,
        json_logs: false,
        log_filter: "off",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_webhook_is_one_trace_through_two_processes() {
    let mut tasks = JoinSet::new();
    let (received, endpoint) = receiver(&mut tasks).await;
    let (subscriber, guard) = build(settings(Some(&endpoint))).unwrap();

    tracing::subscriber::with_default(subscriber, || {
        let carried = info_span!("receive").in_scope(current_traceparent);
        assert_eq!(carried.len(), 55, "{carried}");

        let work = info_span!("process", job.attempt = 1);
        set_parent(&work, &carried);
        work.in_scope(|| info!("looked"));

        let again = info_span!("process again");
        link(&again, &carried);
        again.in_scope(|| ());
    });
    guard.shutdown().await;

    let (receive, process, again) =
        (received.span("receive"), received.span("process"), received.span("process again"));
    assert_eq!(process.trace_id, receive.trace_id);
    assert_eq!(process.parent_span_id, receive.span_id);
    assert_ne!(again.trace_id, receive.trace_id);
    assert_eq!(again.links[0].span_id, receive.span_id);
    assert_eq!(process.events[0].name, "looked");

    let kept: Vec<_> = process.attributes.iter().map(|a| a.key.as_str()).collect();
    assert!(kept.contains(&"job.attempt"), "{kept:?}");
    assert!(!kept.iter().any(|k| k.starts_with("code.") || k.starts_with("thread.")), "{kept:?}");

    let resource = received.resource();
    assert_eq!(resource["service.name"], "syncline-test");
    assert_eq!(resource["service.namespace"], "tests");
    assert!(!resource["service.instance.id"].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn instruments_arrive_with_name_and_unit() {
    let mut tasks = JoinSet::new();
    let (received, endpoint) = receiver(&mut tasks).await;
    let (_subscriber, guard) = build(settings(Some(&endpoint))).unwrap();

    let metrics = Metrics::new(&guard.meter());
    let wait = Duration::from_millis(20);
    metrics.webhook_received("klaviyo");
    metrics.webhook_refused("klaviyo", "forged");
    metrics.jobs_enqueued("klaviyo", "webhook", 3);
    metrics.job_claimed("klaviyo", "check", "webhook", wait);
    metrics.job_settled("klaviyo", "check", "ack");
    metrics.fetched("klaviyo", "ok", wait);
    metrics.over_quota("klaviyo", "klaviyo/main");
    metrics.unknown_keys("discord", "member", 1);
    metrics.records_changed("klaviyo", "webhook", 1);
    metrics.drift_found("klaviyo", "spot-check", 1);
    metrics.stale_writes("klaviyo", 1);
    metrics.leases_reaped(1);
    metrics.queue_depth("klaviyo/main", "webhook", 7);
    metrics.queue_lag("klaviyo/main", wait);
    metrics.inbox_open("klaviyo/main", 2);
    guard.shutdown().await;

    let mut names: Vec<_> =
        received.metrics().iter().map(|m| format!("{} {}", m.name, m.unit)).collect();
    names.sort();
    names.dedup();
    insta::assert_snapshot!(names.join("\n"), @r#"
    syncline.drift.found {record}
    syncline.fetch.duration s
    syncline.inbox.open {row}
    syncline.job.wait s
    syncline.jobs.claimed {job}
    syncline.jobs.enqueued {job}
    syncline.jobs.settled {job}
    syncline.leases.reaped {lease}
    syncline.queue.depth {job}
    syncline.queue.lag s
    syncline.quota.over {response}
    syncline.records.changed {record}
    syncline.schema.unknown_keys {key}
    syncline.webhooks.received {webhook}
    syncline.webhooks.refused {webhook}
    syncline.writes.stale {record}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_lanes_is_told_until_it_is_forgotten() {
    let mut tasks = JoinSet::new();
    let (received, endpoint) = receiver(&mut tasks).await;
    let (_subscriber, guard) = build(settings(Some(&endpoint))).unwrap();
    let metrics = Metrics::new(&guard.meter());
    let provider = guard.meter.clone().unwrap();
    let export = async || {
        let provider = provider.clone();
        tokio::task::spawn_blocking(move || provider.force_flush()).await.unwrap().unwrap();
        let exports = received.metrics.lock().unwrap().drain(..).collect::<Vec<_>>();
        let received = Received { metrics: Arc::new(Mutex::new(exports)), ..Received::default() };
        let names = received.metrics().into_iter().map(|metric| metric.name);
        names.filter(|name| name != "syncline.scheduler.leads").collect::<Vec<_>>()
    };

    metrics.leads(true);
    metrics.queue_depth("klaviyo/main", "webhook", 7);
    assert_eq!(export().await, ["syncline.queue.depth"]);
    assert_eq!(export().await, ["syncline.queue.depth"], "as long as it leads");
    metrics.leads(false);
    metrics.forget_lanes();
    assert!(export().await.is_empty(), "another measures them");
    guard.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_does_no_harm() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let (subscriber, guard) = build(settings(Some("http://127.0.0.1:1"))).unwrap();
    tracing::subscriber::with_default(subscriber, || info_span!("lost").in_scope(|| ()));
    guard.shutdown().await;
}

#[test]
fn without_an_endpoint_nothing_is_traced() {
    let (subscriber, _guard) = build(settings(None)).unwrap();
    let carried = tracing::subscriber::with_default(subscriber, || {
        info_span!("receive").in_scope(current_traceparent)
    });
    assert_eq!(carried, "");
}
