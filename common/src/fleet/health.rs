//! Health and readiness over HTTP, for processes that serve nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whether the process wants work. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
}

impl Health {
    /// Said by the process once it has all it needs, and taken back when it stops.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// `/health/live`: the process runs. `/health/ready`: it wants work; 503 when it does not.
    pub fn router(&self) -> Router {
        let health = self.clone();
        let ready = move || async move {
            if health.ready.load(Ordering::Relaxed) {
                (StatusCode::OK, "ready\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
            }
        };
        Router::new()
            .route("/health/live", get(async || "live\n"))
            .route("/health/ready", get(ready))
    }
}

/// Serves [`Health`] until `stop`.
///
/// # Errors
///
/// When the address cannot be listened on.
pub async fn serve_health(
    listen: SocketAddr,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    axum::serve(listener, health.router())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("serving health")
}
