//! Health and readiness over HTTP, for processes that serve nothing else.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whether a process that has all it needs wants work: until it leaves. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    leaving: CancellationToken,
}

impl Health {
    /// - `leaving`: see [`Lifecycle::leaving`](crate::lifecycle::Lifecycle::leaving). It is looked at
    ///   when somebody asks, so that nothing else of a stop comes before it.
    pub fn until(leaving: &CancellationToken) -> Self {
        Self { leaving: leaving.clone() }
    }

    /// `/health/live`: the process runs. `/health/ready`: it wants work; 503 when it does not.
    pub fn router(&self) -> Router {
        let health = self.clone();
        let ready = move || async move {
            if health.leaving.is_cancelled() {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
            } else {
                (StatusCode::OK, "ready\n")
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
