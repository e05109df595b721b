//! Connections from outside: bounded in number, in the size of their headers, and in the time that
//! these may take. HTTP/1.1: what stands in front speaks it.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use common::config::IngressConfig;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// The first line and all headers together; more is answered 431.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Headers of one request; more is answered 431.
const HEADERS_MAX: usize = 64;
/// What one connection holds at most besides the body of its request.
const BUFFER_BYTES_MAX: usize = 32 * 1024;
/// After the system gave us no connection: it has no file handles left, perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stop`, then ends the requests that are under way.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: &IngressConfig,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(config.max_connections));
    let connections = TaskTracker::new();
    loop {
        // A place first: who comes while all are taken waits in the system's queue, which is short.
        let place = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await;
        let Some(Ok(place)) = place else { break };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                let header_timeout = config.header_timeout;
                connections.spawn(async move {
                    connection(stream, router, header_timeout, stop).await;
                    drop(place);
                });
            }
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                warn!(%error, "cannot take a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: TcpStream,
    router: Router,
    header_timeout: Duration,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // Also how long a connection may stand idle between two requests.
        .header_read_timeout(header_timeout)
        .max_header_size(HEADERS_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    let serving = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}

/// Whether only the one connection is lost.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
