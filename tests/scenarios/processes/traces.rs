//! What a receiver of telemetry sees of the fleet.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::{Method, StatusCode};
use simulator::{Platform, RecordType};
use sqlx::PgPool;
use tests::config_file::KLAVIYO_ENDPOINT;
use tests::program::Program;
use tests::scene::{Scene, Setup};
use tokio::net::TcpListener;

use crate::receiver::Receiver;
use crate::verbs::{edit, mirrored};

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn one_webhook_is_one_trace_through_all_that_it_causes(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let receiver = Receiver::start().await?;
    let (mut ingress, address) = start_ingress(&mut scene, &receiver).await?;
    let endpoint = [("SYNCLINE__TELEMETRY__OTLP_ENDPOINT", receiver.url.as_str())];
    let mut worker = scene.start_program("syncline-worker", &endpoint)?;
    let target = format!("{address}/webhooks/klaviyo/{KLAVIYO_ENDPOINT}");
    scene.platforms.set_webhook_target(Platform::Klaviyo, Some(target.parse()?));
    let changed = edit(&scene, RecordType::Profile)?;
    mirrored(&mut scene, &[changed]).await?;
    // The last spans are sent at the end.
    assert!(worker.stop().await?.success());
    assert!(ingress.stop().await?.success());

    let spans = spans(&receiver)?;
    let (root, _) =
        spans.values().find(|(_, s)| s.name == "POST /webhooks/{platform}/{endpoint}").unwrap();
    assert_eq!(root, "syncline-ingress");
    // (service, span) and the span that it is below.
    let path = [
        ("syncline-ingress", "accept", "POST /webhooks/{platform}/{endpoint}"),
        ("syncline-ingress", "enqueue", "POST /webhooks/{platform}/{endpoint}"),
        ("syncline-worker", "process profile", "POST /webhooks/{platform}/{endpoint}"),
        ("syncline-worker", "GET /api/profiles", "process profile"),
        ("syncline-worker", "write", "process profile"),
    ];
    for (service, name, above) in path {
        let (told_by, span) =
            spans.values().find(|(_, span)| span.name == name).unwrap_or_else(|| {
                let names: Vec<_> = spans.values().map(|(_, span)| &span.name).collect();
                panic!("no span {name} in {names:?}")
            });
        assert_eq!(told_by, service, "{name}");
        let mut ancestors = Vec::new();
        let mut below = span;
        while let Some((_, parent)) = spans.get(&below.parent_span_id) {
            assert_eq!(parent.trace_id, span.trace_id);
            ancestors.push(parent.name.as_str());
            below = parent;
        }
        assert!(ancestors.contains(&above), "{name} is below {ancestors:?}");
        assert!(below.parent_span_id.is_empty(), "{name} has a parent that nobody told of");
    }
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_forged_webhook_is_counted(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let receiver = Receiver::start().await?;
    let (mut ingress, address) = start_ingress(&mut scene, &receiver).await?;
    let url = format!("{address}/webhooks/klaviyo/{KLAVIYO_ENDPOINT}");
    for _ in 0..3 {
        let forged = scene.http.request(Method::POST, &url).body("{}");
        assert_eq!(scene.http.send(forged).await?.0, StatusCode::UNAUTHORIZED);
    }
    assert!(ingress.stop().await?.success());

    let counted = receiver.counts("syncline.webhooks.refused", "reason")?;
    assert_eq!(counted, HashMap::from([("forged".to_owned(), 3)]));
    Ok(())
}

/// A real ingress that tells the receiver, and its address.
async fn start_ingress(
    scene: &mut Scene,
    receiver: &Receiver,
) -> anyhow::Result<(Program, String)> {
    // Free a moment ago; nobody else on this machine is given it so soon.
    let listen = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    let variables = [
        ("SYNCLINE__TELEMETRY__OTLP_ENDPOINT", receiver.url.as_str()),
        ("SYNCLINE__INGRESS__LISTEN", listen.as_str()),
    ];
    let program = scene.start_program("syncline-ingress", &variables)?;
    let address = format!("http://{listen}");
    scene
        .until("the ingress is ready", async |scene| {
            let ready = scene.http.request(Method::GET, &format!("{address}/health/ready"));
            Ok(matches!(scene.http.send(ready).await, Ok((StatusCode::OK, _))))
        })
        .await?;
    Ok((program, address))
}

/// Every span by its id, with the service that told of it.
fn spans(receiver: &Receiver) -> anyhow::Result<HashMap<Vec<u8>, (String, Span)>> {
    let mut spans = HashMap::new();
    for post in receiver.posts().into_iter().filter(|post| post.path == "/v1/traces") {
        for resource in ExportTraceServiceRequest::decode(post.body)?.resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|a| a.key == "service.name");
            let Some(Value::StringValue(service)) =
                name.and_then(|name| name.value).and_then(|value| value.value)
            else {
                panic!("a service has a name")
            };
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                spans.insert(span.span_id.clone(), (service.clone(), span));
            }
        }
    }
    Ok(spans)
}
