//! The platforms' listener: every request takes the same few steps.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::clock::now;
use crate::fault::Fault;
use crate::journal::RequestRow;
use crate::record::Platform;
use crate::{discord, edge};

/// Longest request body that is read.
const LONGEST_BODY: usize = 64 * 1024;
const CHUNK: usize = 64 * 1024;

/// What a request handler needs.
#[derive(Clone)]
struct Door {
    account: Arc<Account>,
    stop: CancellationToken,
}

/// The router of one platform.
pub(crate) fn router(account: Arc<Account>, stop: CancellationToken) -> Router {
    Router::new().fallback(handle).with_state(Door { account, stop })
}

/// Serves until `stop`, then ends what is under way.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        warn!(%error, "listener failed");
    }
}

/// The state is read and the request counted *before* the gate and before a slow fault: what is
/// held back is an answer, and it grows old while it waits.
async fn handle(State(Door { account, stop }): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A body that is too long or breaks off is one that no route understands.
    let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default().to_vec();
    let query = parts.uri.query().unwrap_or_default();
    let mut call = Call::new(parts.method, parts.uri.path(), query, parts.headers, body);

    let (template, answer, fault) = if let Some(page) = account.shut_out() {
        ("edge", page, None)
    } else {
        if account.platform == Platform::Discord {
            call.endpoint_answers = discord::test_endpoint(&account, &call).await;
        }
        let (template, answer) = account.answer(&call);
        let limited = answer.status == StatusCode::TOO_MANY_REQUESTS;
        let fault = if limited { None } else { account.draw_fault() };
        let answer = replaced(&account, answer, fault.as_ref());
        account.pass_edge(&answer);
        (template, answer, fault)
    };
    let row = RequestRow {
        at: now(),
        platform: account.platform,
        method: call.method.to_string(),
        template,
        path: call.path.clone(),
        status: answer.status.as_u16(),
        fault: fault.as_ref().map(Fault::name),
    };
    debug!(platform = account.platform.name(), template, status = row.status, "request");
    account.journal.lock().enter(row, &answer);

    if let Some(Fault::Slow { ms }) = fault {
        stop.run_until_cancelled(sleep(Duration::from_millis(ms))).await;
    }
    stop.run_until_cancelled(account.gate.pass(account.platform, &call.path)).await;
    response(account.platform, answer, fault.as_ref())
}

/// The answer that takes the place of the right one.
fn replaced(account: &Account, answer: Answer, fault: Option<&Fault>) -> Answer {
    match fault {
        Some(Fault::Status { status, retry_after }) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut error = account.error_for(status);
            error.records = answer.records;
            match retry_after {
                Some(seconds) => error.header("retry-after", seconds),
                None => error,
            }
        }
        Some(Fault::Limited { retry_after_ms, reset_after_ms, scope }) => {
            let error = account.error_for(StatusCode::TOO_MANY_REQUESTS);
            let limited = discord::limited(error, *retry_after_ms, *reset_after_ms, scope);
            Answer { records: answer.records, ..limited }
        }
        Some(Fault::Block { retry_after }) => {
            let page = edge::block(Duration::from_secs(*retry_after));
            Answer { records: answer.records, ..page }
        }
        Some(Fault::Redirect { location }) => {
            let found = Answer::error(StatusCode::FOUND, serde_json::Value::Null);
            Answer { records: answer.records, ..found.header("location", location) }
        }
        Some(Fault::Garbage | Fault::Huge { .. }) => Answer { status: StatusCode::OK, ..answer },
        Some(Fault::Slow { .. } | Fault::Cut) | None => answer,
    }
}

fn response(platform: Platform, answer: Answer, fault: Option<&Fault>) -> Response {
    let text = match answer.page {
        Some(page) => page.to_owned(),
        None if answer.body.is_null() => String::new(),
        None => answer.body.to_string(),
    };
    let body = match fault {
        Some(Fault::Garbage) => Body::from("<html><body>upstream says hello {{</body>"),
        Some(Fault::Cut) => cut(text.clone()),
        Some(Fault::Huge { bytes }) => huge(*bytes),
        _ => Body::from(text.clone()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    let content_type = match platform {
        _ if answer.page.is_some() => "text/html; charset=UTF-8",
        Platform::Klaviyo => "application/vnd.api+json",
        _ => "application/json",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if fault == Some(&Fault::Cut) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len().max(2)));
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Half of the body, then the end of the connection.
fn cut(text: String) -> Body {
    let mut half = Bytes::from(text);
    half.truncate(half.len() / 2);
    let broken = async {
        // Lets the head and the half out first.
        yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(broken)))
}

/// A text in JSON that does not end.
fn huge(bytes: u64) -> Body {
    let chunk = Bytes::from(vec![b' '; CHUNK]);
    let chunks = bytes.div_ceil(u64::try_from(CHUNK).unwrap_or(u64::MAX));
    let start = Ok::<_, io::Error>(Bytes::from_static(b"{\"data\":\""));
    Body::from_stream(stream::iter(
        std::iter::once(start).chain((0..chunks).map(move |_| Ok(chunk.clone()))),
    ))
}
