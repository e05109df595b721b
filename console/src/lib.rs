//! Shows people what is going on: one page and the same as JSON, for whoever knows the token.
//!
//! It only reads. It needs Redis and Postgres, and no secret of any connection.

mod access;
mod attempts;
mod board;
mod guard;
mod pages;
mod status;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use common::config::{Config, ConsoleConfig};
use common::fleet::{Health, configured_limits, open_queue};
use common::ids::Lane;
use common::lifecycle::Lifecycle;
use common::queue::RedisQueue;
use common::quota::LaneLimits;
use common::store;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::access::Access;
use crate::attempts::Attempts;
use crate::board::Board;

/// One status is gathered at a time; a second connection is for what a cancelled one still holds.
const MOST_DB_CONNECTIONS: u32 = 2;
/// Requests handled at once; more are answered 503.
const MOST_REQUESTS: usize = 64;
/// What is sent to us is a token at most.
const BODY_LIMIT_BYTES: usize = 4096;

/// Where the console looks.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Its tables are there already.
    pub db: PgPool,
    /// A queue that need not know any lane.
    pub queue: RedisQueue,
    /// The connections of the configuration: shown even while Postgres, which knows them too, is
    /// away.
    pub lanes: Vec<Lane>,
    /// Their quotas, by which it is told when a scan will end.
    pub limits: BTreeMap<Lane, LaneLimits>,
}

/// What the handlers need.
struct Console {
    board: Board,
    access: Access,
    attempts: Attempts,
    /// A permit for each request that is handled.
    slots: Semaphore,
    refresh: Duration,
}

/// Shows pages until the lifecycle stops.
///
/// # Errors
///
/// When Redis or Postgres cannot be reached at the start, or the address cannot be listened on.
pub async fn run(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let most = config.postgres.max_connections.min(MOST_DB_CONNECTIONS);
    let opening = async {
        let db = store::connect(&config.postgres.url, most, config.postgres.wait)
            .await
            .context("postgres.url: the server cannot be reached")?;
        anyhow::Ok((db, open_queue(config, config.redis.wait).await?))
    };
    let Some(opened) = lifecycle.leaving().run_until_cancelled(opening).await else {
        return Ok(());
    };
    let (db, queue) = opened?;
    let lanes = config.connections.keys().cloned().collect();
    let limits = configured_limits(config);
    let listen = config.console.listen;
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!(%listen, "showing pages");
    serve(listener, Sources { db, queue, lanes, limits }, &config.console, lifecycle).await
}

/// The same on a socket that is bound already.
///
/// # Errors
///
/// When the socket fails.
pub async fn serve(
    listener: TcpListener,
    sources: Sources,
    config: &ConsoleConfig,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    let health = Health::until(lifecycle.leaving());
    let router = router(sources, config, &health);
    let stop = lifecycle.soft().clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        served = serving.into_future() => served.context("serving pages"),
        () = lifecycle.hard().cancelled() => Ok(()),
    }
}

/// Every route of the console.
pub fn router(sources: Sources, config: &ConsoleConfig, health: &Health) -> Router {
    let console = Arc::new(Console {
        board: Board::new(sources, config.refresh),
        access: Access::new(config.token()),
        attempts: Attempts::default(),
        slots: Semaphore::new(MOST_REQUESTS),
        refresh: config.refresh,
    });
    let admitted = Router::new()
        .route("/", get(pages::show))
        .route("/api/status", get(pages::api_status))
        .layer(from_fn_with_state(Arc::clone(&console), guard::admit));
    // The form to sign in needs its stylesheet, so these two tell nothing and are for everybody.
    let open = Router::new()
        .route("/login", get(pages::home).post(pages::sign_in))
        .route("/logout", post(pages::sign_out))
        .route("/static/console.css", get(pages::stylesheet))
        .route("/static/console.js", get(pages::script));
    admitted
        .merge(open)
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(from_fn_with_state(Arc::clone(&console), guard::bound))
        .with_state(console)
        .merge(health.router())
        .layer(CatchPanicLayer::new())
        .layer(from_fn(guard::seal))
}
