//! The pages, the form to sign in, the same as JSON.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use tracing::{error, info, warn};
use url::form_urlencoded;

use crate::status::{Hold, Status};
use crate::{Console, access, words};

/// The name of the field in the form.
const FIELD: &str = "token";

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage<'a> {
    status: &'a Status,
    refresh: Duration,
    can_sign_out: bool,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    wrong: bool,
}

impl StatusPage<'_> {
    /// For browsers without scripts, which count in whole seconds.
    fn refresh_seconds(&self) -> u64 {
        self.refresh.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
    }

    /// How long ago something was when the status was taken.
    fn age(&self, at: &Timestamp) -> String {
        self.status.at.map_or_else(String::new, |now| words::age(now, *at))
    }

    /// How long it is from then to an instant.
    fn until(&self, at: &Timestamp) -> String {
        self.status.at.map_or_else(String::new, |now| words::age(*at, now))
    }

    fn has_operations(&self) -> bool {
        self.mirrors().any(|mirror| !mirror.operations.is_empty())
    }

    fn has_records(&self) -> bool {
        self.mirrors().any(|mirror| !mirror.records.is_empty())
    }

    fn mirrors(&self) -> impl Iterator<Item = &crate::status::Mirror> {
        self.status.connections.iter().filter_map(|connection| connection.mirror.as_ref())
    }
}

/// `GET /`.
pub(crate) async fn show(State(console): State<Arc<Console>>) -> Response {
    let status = console.board.status().await;
    let (refresh, can_sign_out) = (console.refresh, console.access.has_token());
    page(StatusCode::OK, &StatusPage { status: &status, refresh, can_sign_out })
}

/// `GET /api/status`; 503 while a store is away, with what is known without it.
pub(crate) async fn api_status(State(console): State<Arc<Console>>) -> Response {
    let status = console.board.status().await;
    let code = if status.is_complete() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(&*status)).into_response()
}

/// The API's answer to strangers.
pub(crate) fn api_refused() -> Response {
    let how = "send the console's token: Authorization: Bearer ...";
    let body = Json(std::collections::BTreeMap::from([("error", how)]));
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer realm=\"syncline\"")], body)
        .into_response()
}

/// The pages' answer to strangers.
///
/// - `wrong`: they have tried.
pub(crate) fn sign_in_form(wrong: bool) -> Response {
    page(StatusCode::UNAUTHORIZED, &SignInPage { wrong })
}

/// `GET /login`, for whoever reloads the page that a wrong token led to.
pub(crate) async fn home() -> Redirect {
    Redirect::to("/")
}

/// `POST /login`: the token for a session.
pub(crate) async fn sign_in(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(wait) = console.attempts.wait() {
        let seconds = wait.as_secs() + 1;
        let told = format!("too many wrong tokens, try again in {seconds} s\n");
        let headers = [(RETRY_AFTER, HeaderValue::from(seconds))];
        return (StatusCode::TOO_MANY_REQUESTS, headers, told).into_response();
    }
    let given = form_urlencoded::parse(&body).find(|(name, _)| name == FIELD);
    let given = given.map(|(_, value)| value).unwrap_or_default();
    match console.access.sign_in(given.trim(), came_over_tls(&headers)) {
        Some(cookie) => {
            info!("somebody signed in");
            ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        None if console.access.has_token() => {
            console.attempts.was_wrong();
            warn!("somebody tried to sign in with a wrong token");
            sign_in_form(true)
        }
        None => Redirect::to("/").into_response(),
    }
}

/// `POST /logout`.
pub(crate) async fn sign_out(headers: HeaderMap) -> Response {
    let cookie = access::sign_out(came_over_tls(&headers));
    ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

/// `GET /static/console.css`.
pub(crate) async fn stylesheet() -> Response {
    let text = include_str!("../static/console.css");
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], text).into_response()
}

/// `GET /static/console.js`.
pub(crate) async fn script() -> Response {
    let text = include_str!("../static/console.js");
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

/// Whether a proxy in front says that the browser speaks TLS with it. Whoever lies about that only
/// makes the own cookie stricter.
fn came_over_tls(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https")
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
