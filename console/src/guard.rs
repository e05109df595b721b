//! What every request passes on its way in and out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::access::Refused;
use crate::{Console, pages};

/// From a request to its answer; longer than a status takes at the most.
const ANSWER_WITHIN: Duration = Duration::from_secs(14);

/// On every answer. Nothing here may be framed, cached, or load anything from elsewhere.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Lets those pass who may look; the others get 401 and, in a browser, the form to sign in.
pub(crate) async fn admit(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    match console.access.judge(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Refused::Stranger) if request.uri().path().starts_with("/api/") => pages::api_refused(),
        Err(Refused::Stranger) => pages::sign_in_form(false),
        Err(Refused::OtherHost) => {
            (StatusCode::FORBIDDEN, "open it as localhost, or set console.token\n").into_response()
        }
    }
}

/// So many requests at once, each within its time.
pub(crate) async fn bound(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_slot) = console.slots.try_acquire() else { return busy() };
    timeout(ANSWER_WITHIN, next.run(request)).await.unwrap_or_else(|_| busy())
}

fn busy() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], "busy, try again\n").into_response()
}

/// Adds the headers that keep browsers from being misused.
pub(crate) async fn seal(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(HEADERS);
    response
}
