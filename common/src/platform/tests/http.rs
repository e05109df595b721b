//! What holds for every request, whatever the platform.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http::header::{CONTENT_ENCODING, LOCATION};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rustls::SupportedCipherSuite;
use rustls::crypto::{CryptoProvider, ring};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
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
    assert_eq!(header("accept-encoding"), "gzip,br");
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

/// How a platform may pack its answer.
fn packed(encoding: &str, body: &[u8]) -> Response {
    let mut packed = Vec::new();
    if encoding == "gzip" {
        let mut gzip = GzEncoder::new(&mut packed, Compression::best());
        gzip.write_all(body).unwrap();
        gzip.finish().unwrap();
    } else {
        brotli::CompressorWriter::new(&mut packed, 4096, 9, 22).write_all(body).unwrap();
    }
    ([(CONTENT_ENCODING, encoding.to_owned())], packed).into_response()
}

#[tokio::test]
async fn a_packed_answer_is_unpacked_and_a_bomb_is_cut_off() {
    for encoding in ["gzip", "br"] {
        let fake = Fake::start(move |_| packed(encoding, br#"{"id":"1"}"#)).await;
        let looked = look_at_order(&api(), &Purse::of(1), &fake.url).await.unwrap();
        assert!(matches!(looked, Look::Found(_)), "{encoding}");

        let bomb = vec![b' '; 16 << 20];
        let fake = Fake::start(move |_| {
            let answer = packed(encoding, &bomb);
            assert!(answer.body().size_hint().exact().unwrap() < 64 << 10, "too large before");
            answer
        })
        .await;
        let what = transient(look_at_order(&api(), &Purse::of(1), &fake.url).await);
        assert_eq!(what, "a body of more than 65536 bytes", "{encoding}");
    }
}

#[tokio::test]
async fn what_is_packed_otherwise_than_it_says_is_a_passing_failure() {
    for encoding in ["gzip", "br"] {
        let fake = Fake::start(move |_| {
            ([(CONTENT_ENCODING, encoding)], answer(200, r#"{"id":"1"}"#)).into_response()
        })
        .await;
        let what = transient(look_at_order(&api(), &Purse::of(1), &fake.url).await);
        assert!(what.starts_with("broken off"), "{encoding}: {what}");
    }
}

/// Answers each request on one connection, and counts the connections.
#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut tasks = JoinSet::new();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            open.spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.unwrap_or(0) > 0 {
                    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"id\":\"1\"}";
                    stream.write_all(said).await.unwrap();
                }
            });
        }
    });
    let (api, purse) = (api(), Purse::of(5));
    for _ in 0..5 {
        look_at_order(&api, &purse, &url).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// Which protocols the client names when it opens a TLS connection (RFC 7301).
#[tokio::test]
async fn a_platform_with_tls_is_offered_http_2_and_http_1() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let hello = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 16 << 10];
        let read = stream.read(&mut hello).await.unwrap();
        hello.truncate(read);
        hello
    };
    let (api, purse) = (api(), Purse::of(1));
    let (hello, looked) = tokio::join!(hello, look_at_order(&api, &purse, &url));
    let offers = b"\x02h2\x08http/1.1";
    assert!(hello.windows(offers.len()).any(|window| window == offers), "{hello:?}");
    assert!(transient(looked).starts_with("no connection"));
}

/// Ring, of which there is one in the process; not the C library that rustls prefers.
#[tokio::test]
async fn the_cryptography_is_ring() {
    let _api = api();
    let installed = CryptoProvider::get_default().unwrap();
    let suites = |provider: &CryptoProvider| {
        provider.cipher_suites.iter().map(SupportedCipherSuite::suite).collect::<Vec<_>>()
    };
    assert_eq!(suites(installed), suites(&ring::default_provider()));
    let random = |provider: &CryptoProvider| format!("{:?}", provider.secure_random);
    assert_eq!(random(installed), random(&ring::default_provider()));
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
