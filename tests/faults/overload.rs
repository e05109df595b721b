//! More webhooks than Postgres can take. With `cargo xtask test --long`: 5,000 a second for a minute.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::PgPool;
use tests::config_file::EVENTBRITE_ENDPOINT;
use tests::fault::Way;
use tests::http::Http;
use tests::scene::{Scene, Setup};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// What the ingress may hold of the machine's memory at the most, whatever is offered: stated in
/// docs/reliability.md.
const MEMORY_BOUND_KIB: u64 = 256 * 1024;
/// Offers that wait for their answer; more are not made, as if the network were full.
const OUTSTANDING_MAX: usize = 1_500;

/// So many are accepted all the same: ten connections, each with two round trips of a tenth of a second,
/// could take fifty.
const ACCEPTED_A_SECOND: u64 = 10;

#[derive(Default)]
struct Offered {
    accepted: Mutex<BTreeSet<String>>,
    shed: AtomicU64,
    other: AtomicU64,
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_accepted_is_there_and_what_is_too_much_is_shed(db: PgPool) -> anyhow::Result<()> {
    let long = std::env::var_os("SYNCLINE_LONG_TESTS").is_some();
    let (per_tick, ticks) = if long { (50, 6_000) } else { (10, 300) };
    let way = way_of_its_own().await?;
    let settings = "[ingress]\nmax_in_flight = 256".to_owned();
    let setup = Setup { postgres: Some(way.address()), settings, ..Setup::default() };
    let mut scene = Scene::new(db, setup).await?;
    let listen = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    let mut ingress = scene
        .start_program("syncline-ingress", &[("SYNCLINE__INGRESS__LISTEN", listen.as_str())])?;
    let ready = format!("http://{listen}/health/ready");
    scene
        .until("the ingress is ready", async |scene| {
            let asked = scene.http.send(scene.http.request(Method::GET, &ready)).await;
            Ok(matches!(asked, Ok((StatusCode::OK, _))))
        })
        .await?;

    way.slow(Duration::from_millis(50));
    let offered = Arc::new(Offered::default());
    let url: Arc<str> = format!("http://{listen}/webhooks/eventbrite/{EVENTBRITE_ENDPOINT}").into();
    let mut offers = JoinSet::new();
    // Every ten milliseconds so many, whatever became of those before.
    let mut clock = interval(Duration::from_millis(10));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (begun, mut made) = (Instant::now(), 0_u64);
    for _ in 0..ticks {
        clock.tick().await;
        while offers.try_join_next().is_some() {}
        for _ in 0..per_tick {
            if offers.len() < OUTSTANDING_MAX {
                made += 1;
                offers.spawn(offer(
                    scene.http.clone(),
                    Arc::clone(&url),
                    made,
                    Arc::clone(&offered),
                ));
            }
        }
    }
    let took = begun.elapsed();
    let floor = usize::try_from(took.as_secs() * ACCEPTED_A_SECOND)?;
    while offers.join_next().await.is_some() {}
    way.open();

    let pid = ingress.id().context("it runs")?;
    let peak_kib = peak_memory_kib(pid)?;
    assert!(ingress.stop().await?.success());
    let written: Vec<String> =
        sqlx::query_scalar("select external_id from inbox").fetch_all(&scene.db).await?;
    let written: BTreeSet<String> = written.into_iter().collect();
    let accepted = offered.accepted.lock().expect("nobody panicked").clone();
    let (shed, other) =
        (offered.shed.load(Ordering::Relaxed), offered.other.load(Ordering::Relaxed));
    eprintln!(
        "{made} offered in {took:?}: {} accepted, {shed} shed, {other} unanswered; peak {peak_kib} KiB",
        accepted.len()
    );
    let lost: Vec<_> = accepted.difference(&written).collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), accepted.len());
    assert!(shed > 0, "nothing was too much");
    assert!(accepted.len() >= floor, "{} accepted of {floor} at the least", accepted.len());
    assert!(peak_kib < MEMORY_BOUND_KIB, "{peak_kib} KiB");
    Ok(())
}

/// A way to Postgres that is slow because it is told to, and not because whoever offers webhooks uses up
/// the time of its thread.
async fn way_of_its_own() -> anyhow::Result<Way> {
    let (made, way) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the first of this thread");
        runtime.block_on(async {
            drop(made.send(Way::to("DATABASE_URL").await));
            // Until the process ends, which is when the story does.
            std::future::pending::<()>().await;
        });
    });
    way.await?
}

/// One order that nobody else names.
async fn offer(http: Http, url: Arc<str>, number: u64, offered: Arc<Offered>) {
    let order = (1_000_000_000 + number).to_string();
    let body = json!({ "api_url": format!("https://www.eventbriteapi.com/v3/orders/{order}/"),
        "config": { "action": "order.updated", "user_id": "1", "webhook_id": "1" } });
    let request = http.request(Method::POST, &url).body(body.to_string());
    match http.send(request).await {
        Ok((status, _)) if status.is_success() => {
            offered.accepted.lock().expect("nobody panicked").insert(order);
        }
        Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => {
            offered.shed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(_) | Err(_) => {
            offered.other.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The most memory that a process has held so far.
fn peak_memory_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("Linux tells it")?;
    Ok(number.parse()?)
}
