//! Strangers at the door of the ingress: slow, large, many, and late.

use std::time::Duration;

use anyhow::Context;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::Sha256;
use sqlx::PgPool;
use tests::config_file::{EVENTBRITE_ENDPOINT, KLAVIYO_ENDPOINT};
use tests::scene::{Scene, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

/// A small door, so that little is needed to fill it.
const SMALL: &str = r#"
[ingress]
header_timeout = "400ms"
request_timeout = "4s"
drain = "4s"
max_connections = 4
body_limit_bytes = 65536
body_memory_bytes = 65536
"#;

async fn scene(db: PgPool) -> anyhow::Result<Scene> {
    let mut scene =
        Scene::new(db, Setup { settings: SMALL.to_owned(), ..Setup::default() }).await?;
    scene.start_ingress().await?;
    Ok(scene)
}

async fn connect(scene: &Scene) -> anyhow::Result<TcpStream> {
    let url = Url::parse(&scene.webhook_url(""))?;
    let address = url.socket_addrs(|| None)?.into_iter().next().context("an address")?;
    Ok(TcpStream::connect(address).await?)
}

/// Everything up to the end of the connection.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has ended too.
    drop(timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of a webhook of Eventbrite's.
async fn webhook(scene: &Scene) -> anyhow::Result<(StatusCode, bool)> {
    let body = json!({ "api_url": "https://www.eventbriteapi.com/v3/orders/1234567890/",
        "config": { "action": "order.updated", "user_id": "1", "webhook_id": "1" } });
    let url = scene.webhook_url(&format!("eventbrite/{EVENTBRITE_ENDPOINT}"));
    let request = scene.http.request(Method::POST, &url).body(body.to_string());
    let answer = scene.http.response(request).await?;
    Ok((answer.status(), answer.headers().contains_key(RETRY_AFTER)))
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn who_sends_headers_slowly_is_cut_off_and_the_door_is_free_again(
    db: PgPool,
) -> anyhow::Result<()> {
    let scene = scene(db).await?;
    let begun = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&scene).await?;
        stream.write_all(b"POST /webhooks/klaviyo/x HTTP/1.1\r\nhost: x\r\n").await?;
        slow.push(stream);
    }
    // All places are taken: a webhook waits at the door, and gets in when the first is cut off.
    let (status, _) = webhook(&scene).await?;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    for stream in &mut slow {
        drop(stream.write_all(b"x").await);
        assert!(!answer(stream).await.contains("HTTP/1.1 2"));
    }
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn headers_that_are_too_large_or_too_many_are_refused(db: PgPool) -> anyhow::Result<()> {
    let scene = scene(db).await?;
    let large = format!("x: {}\r\n", "y".repeat(20_000));
    let many = "x: y\r\n".repeat(100);
    for headers in [large, many] {
        let mut stream = connect(&scene).await?;
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        drop(stream.write_all(request.as_bytes()).await);
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn when_the_memory_for_bodies_is_taken_others_are_asked_to_come_back(
    db: PgPool,
) -> anyhow::Result<()> {
    let scene = scene(db).await?;
    let mut large = connect(&scene).await?;
    let head = format!(
        "POST /webhooks/eventbrite/{EVENTBRITE_ENDPOINT} HTTP/1.1\r\nhost: x\r\ncontent-length: 65536\r\n\r\n{{"
    );
    large.write_all(head.as_bytes()).await?;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(webhook(&scene).await?, (StatusCode::SERVICE_UNAVAILABLE, true));
    assert!(answer(&mut large).await.starts_with("HTTP/1.1 408"), "its time is over");
    assert_eq!(webhook(&scene).await?.0, StatusCode::ACCEPTED);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_klaviyo_signed_long_ago_is_refused(db: PgPool) -> anyhow::Result<()> {
    let scene = scene(db).await?;
    let secret = scene.platforms.config().klaviyo.webhook_secret.0.clone();
    let body = json!({ "data": [], "meta": { "klaviyo_webhook_id": "W" } }).to_string();
    let now: i64 =
        sqlx::query_scalar("select extract(epoch from now())::bigint").fetch_one(&scene.db).await?;
    for (age_s, expected) in [
        (0, StatusCode::ACCEPTED),
        (47 * 3600, StatusCode::ACCEPTED),
        (50 * 3600, StatusCode::UNAUTHORIZED),
        (-3600, StatusCode::UNAUTHORIZED),
    ] {
        let time = (now - age_s).to_string();
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
        let signature = mac.chain_update(&body).chain_update(&time).finalize().into_bytes();
        let url = scene.webhook_url(&format!("klaviyo/{KLAVIYO_ENDPOINT}"));
        let request = scene
            .http
            .request(Method::POST, &url)
            .header("klaviyo-signature", hex::encode(signature))
            .header("klaviyo-timestamp", time)
            .header("klaviyo-webhook-id", "W")
            .body(body.clone());
        assert_eq!(scene.http.send(request).await?.0, expected, "{age_s} s old");
    }
    Ok(())
}

/// Head and body of an answer, as they came, but for the time of day.
fn without_date(answer: &str) -> String {
    answer.lines().filter(|line| !line.to_lowercase().starts_with("date:")).collect()
}

/// An address that there is not answers like one of ours with a wrong secret: at once or after the
/// whole body, and byte for byte.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn an_address_cannot_be_told_by_its_answer(db: PgPool) -> anyhow::Result<()> {
    let settings = SMALL.replace("request_timeout = \"4s\"", "request_timeout = \"1s\"");
    let mut scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    scene.start_ingress().await?;
    let body = json!({ "data": [], "meta": { "klaviyo_webhook_id": "W" } }).to_string();
    let signature = "klaviyo-signature: 00ff\r\nklaviyo-timestamp: 1\r\nklaviyo-webhook-id: W\r\n";
    let head = |endpoint: &str, headers: &str, length: usize| {
        format!(
            "POST /webhooks/klaviyo/{endpoint} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             {headers}content-length: {length}\r\n\r\n"
        )
    };
    let too_large = " ".repeat(65_537);
    let unknown = KLAVIYO_ENDPOINT.replace('0', "1");
    for (headers, sent, announced, expected) in [
        (signature, body.as_str(), body.len(), "401"),
        ("", &body, body.len(), "401"),
        (signature, &too_large, too_large.len(), "413"),
        // What is not sent is waited for, in vain.
        (signature, &body, body.len() + 1, "408"),
    ] {
        let mut answers = Vec::new();
        for endpoint in [KLAVIYO_ENDPOINT, &unknown] {
            let mut stream = connect(&scene).await?;
            stream.write_all(head(endpoint, headers, announced).as_bytes()).await?;
            stream.write_all(sent.as_bytes()).await?;
            answers.push(without_date(&answer(&mut stream).await));
        }
        assert!(answers[0].starts_with(&format!("HTTP/1.1 {expected}")), "{}", answers[0]);
        assert_eq!(answers[0], answers[1]);
    }
    Ok(())
}

/// A quarter of the places at most, and half of the memory, are theirs.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn who_has_no_address_does_not_take_the_places_of_those_who_have(
    db: PgPool,
) -> anyhow::Result<()> {
    let settings = SMALL
        .replace("max_connections = 4", "max_connections = 16\nmax_in_flight = 8")
        .replace("body_memory_bytes = 65536", "body_memory_bytes = 262144");
    let mut scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    scene.start_ingress().await?;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(&scene).await?;
        let head = "POST /webhooks/klaviyo/nobody HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 65536\r\n\r\n{";
        stream.write_all(head.as_bytes()).await?;
        slow.push(stream);
    }
    // Two are waited for; the others have their answer.
    for stream in slow.iter_mut().skip(2) {
        assert!(answer(stream).await.starts_with("HTTP/1.1 401"));
    }
    assert_eq!(webhook(&scene).await?.0, StatusCode::ACCEPTED);
    Ok(())
}
