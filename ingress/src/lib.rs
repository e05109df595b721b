//! Turns platforms' webhooks, and the notices of bridges, into work. The rest is health.

mod clock;
mod connections;
mod memory;
mod receive;
mod strangers;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use common::config::{Config, IngressConfig};
use common::fleet::{Fleet, Health};
use common::lifecycle::Lifecycle;
use common::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use clock::Clock;
use memory::Memory;

/// What the handler needs.
#[derive(Debug)]
struct Ingress {
    fleet: Fleet,
    /// A permit for each webhook or notice that is worked on.
    in_flight: Semaphore,
    /// A permit for each of those that comes to no address of ours.
    strangers: Semaphore,
    /// A permit for each connection to Postgres: nobody waits for one in the pool, where whoever gives up
    /// while a connection is tried takes it along.
    writers: Semaphore,
    body_limit_bytes: usize,
    /// For all bodies that are being read.
    memory: Memory,
    request_timeout: Duration,
    clock: Clock,
    metrics: Metrics,
}

/// Receives webhooks until the lifecycle stops, then answers those that are open.
///
/// # Errors
///
/// When it cannot start: see [`Fleet::open`]; or the address cannot be listened on.
pub async fn run(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let opening = Fleet::open(config);
    let Some(fleet) = lifecycle.leaving().run_until_cancelled(opening).await else { return Ok(()) };
    let fleet = fleet?;
    let listen = config.ingress.listen;
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!(%listen, "waiting for webhooks");
    serve(listener, fleet, &config.ingress, lifecycle).await
}

/// The same on a socket that is bound already.
///
/// # Errors
///
/// None in practice: a connection that fails is given up alone.
pub async fn serve(
    listener: TcpListener,
    fleet: Fleet,
    config: &IngressConfig,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    let connections = fleet.db.options().get_max_connections();
    let ingress = Arc::new(Ingress {
        fleet,
        writers: Semaphore::new(usize::try_from(connections).unwrap_or(1)),
        in_flight: Semaphore::new(config.max_in_flight),
        strangers: Semaphore::new(strangers::at_once(config)),
        body_limit_bytes: config.body_limit_bytes,
        memory: Memory::new(config.body_memory_bytes),
        request_timeout: config.request_timeout,
        clock: Clock::default(),
        metrics: Metrics::default(),
    });
    let router = Router::new()
        .route("/webhooks/{platform}/{endpoint}", post(receive::webhook))
        .route("/notices/{platform}/{endpoint}", post(receive::notice))
        // The handler reads the body itself, bounded in size and time.
        .layer(DefaultBodyLimit::disable())
        .with_state(ingress)
        .merge(Health::until(lifecycle.leaving()).router())
        .layer(CatchPanicLayer::new());
    let serving = connections::serve(listener, router, config, lifecycle.soft());
    lifecycle.hard().run_until_cancelled(serving).await;
    Ok(())
}
