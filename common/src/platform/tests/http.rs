//! What holds for every request, whatever the platform.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::LOCATION;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use url::Url;

use crate::ids::ExternalId;
use crate::platform::tests::fake::{Fake, Purse, answer};
use crate::platform::tests::{TOKEN, account, api, kind};
use crate::platform::{Api, ApiSettings, Call, Look, PlatformError, named};
use crate::quota::RateSignal;

/// Looks at one Eventbrite order: one request to `/orders/1/`.
async fn look_at_order(api: &Api, purse: &Purse, url: &Url) -> Result<Look, PlatformError> {
    let platform = named("eventbrite").unwrap();
    let account = account(platform, url);
    let call = Call::new(api, &account, purse, "order");
    let looks = platform.look(&call, kind("eventbrite", "order"), &[ExternalId::from("1")]).await?;
    Ok(looks.into_iter().next().unwrap())
}

fn transient(looked: Result<Look, PlatformError>) -> String {
    match looked {
        Err(PlatformError::Transient { what, .. }) => what,
        other => panic!("expected a transient failure, got {other:?}"),
    }
}

#[tokio::test]
async fn a_request_carries_the_token_and_costs_one_permit() {
    let fake = Fake::start(|_| answer(200, r#"{"id":"1"}"#)).await;
    let purse = Purse::of(3);
    let looked = look_at_order(&api(), &purse, &fake.url).await.unwrap();
    assert!(matches!(looked, Look::Found(_)));
    assert_eq!(purse.left(), 2);
    assert_eq!(purse.settled(), [("order".to_owned(), RateSignal::default())]);

    let seen = fake.seen();
    assert_eq!(seen.len(), 1);
    let header = |name: &str| seen[0].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(header("user-agent"), concat!("Syncline/", env!("CARGO_PKG_VERSION")));
    assert!(header("accept-encoding").contains("gzip"));
}

#[tokio::test]
async fn without_a_permit_nothing_is_sent() {
    let fake = Fake::start(|_| answer(200, "{}")).await;
    let looked = look_at_order(&api(), &Purse::of(0), &fake.url).await;
    assert!(matches!(looked, Err(PlatformError::NoPermit(_))));
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_permit_that_comes_too_late_is_not_used() {
    let fake = Fake::start(|_| answer(200, r#"{"id":"1"}"#)).await;
    let purse = Purse::with_late(9, 2);
    assert!(look_at_order(&api(), &purse, &fake.url).await.is_ok());
    assert_eq!((purse.left(), purse.settled().len(), fake.seen().len()), (6, 1, 1));

    let all_late = Purse::with_late(9, 9);
    let looked = look_at_order(&api(), &all_late, &fake.url).await;
    assert!(matches!(looked, Err(PlatformError::NoPermit(_))));
    assert_eq!((all_late.left(), all_late.settled().len(), fake.seen().len()), (6, 0, 1));
}

#[tokio::test]
async fn a_refusal_because_of_limits_reaches_the_bucket_at_once() {
    let fake = Fake::start(|_| {
        ([("retry-after", "17")], answer(429, r#"{"error":"HIT_RATE_LIMIT"}"#)).into_response()
    })
    .await;
    let purse = Purse::of(1);
    let wait = Duration::from_secs(17);
    match look_at_order(&api(), &purse, &fake.url).await {
        Err(PlatformError::Throttled { retry_after }) => assert_eq!(retry_after, wait),
        other => panic!("{other:?}"),
    }
    assert_eq!(purse.settled()[0].1.refused_for, Some(wait));
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let fake = Fake::start(|_| {
        let piece = || Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096]));
        Response::new(Body::from_stream(stream::repeat_with(piece)))
    })
    .await;
    let purse = Purse::of(1);
    let what = transient(look_at_order(&api(), &purse, &fake.url).await);
    assert_eq!(what, "a body of more than 65536 bytes");
    assert_eq!(purse.settled().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Fake::start(|_| answer(200, r#"{"id":"1"}"#)).await;
    let target = elsewhere.url.to_string();
    let fake =
        Fake::start(move |_| ([(LOCATION, target.clone())], answer(302, "")).into_response()).await;
    let what = transient(look_at_order(&api(), &Purse::of(5), &fake.url).await);
    assert_eq!(what, "a redirect (302), not followed");
    assert!(elsewhere.seen().is_empty());
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn silence_ends_with_a_time_out_and_the_permit_holds_its_slot() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let whole = Duration::from_millis(50);
    let api = Api::new(ApiSettings { whole, ..ApiSettings::default() }).unwrap();
    assert_eq!(api.whole_timeout(), whole);
    let purse = Purse::of(1);
    assert_eq!(transient(look_at_order(&api, &purse, &url).await), "time-out");
    assert_eq!((purse.left(), purse.settled().len()), (0, 0), "it may be counted yet");
}

#[tokio::test]
async fn a_failure_tells_neither_the_token_nor_the_url() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", nobody.local_addr().unwrap()).parse().unwrap();
    drop(nobody);
    let what = transient(look_at_order(&api(), &Purse::of(1), &url).await);
    assert!(what.starts_with("no connection: "), "{what}");
    assert!(!what.contains(TOKEN) && !what.contains("orders"), "{what}");
    let account = account(named("eventbrite").unwrap(), &url);
    assert!(!format!("{account:?}").contains(TOKEN));
}

#[tokio::test]
async fn what_is_no_json_is_a_passing_failure_and_json_of_another_form_is_not() {
    let html = Fake::start(|_| answer(200, "<html>maintenance</html>")).await;
    let what = transient(look_at_order(&api(), &Purse::of(1), &html.url).await);
    assert_eq!(what, "not JSON, line 1 column 1");
    let other = Fake::start(|_| answer(200, r#"{"name":"a secret"}"#)).await;
    match look_at_order(&api(), &Purse::of(1), &other.url).await {
        Err(PlatformError::Unexpected { what }) => assert_eq!(what, "an order without an id"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_trace_goes_on_in_the_request() {
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let fake = Fake::start(|_| answer(200, r#"{"id":"1"}"#)).await;
    look_at_order(&api(), &Purse::of(1), &fake.url).await.unwrap();
    let seen = fake.seen();
    let traceparent = seen[0].headers["traceparent"].to_str().unwrap();
    assert_eq!(traceparent.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2]);
}
