//! Patreon's API v2 as its documentation of 2024-12-05 describes it.

mod campaigns;
mod fields;
mod members;
pub(crate) mod notice;
mod page;
mod shown;
mod tokens;
mod webhooks;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::json::put;
use crate::limit::seconds_up;
use crate::quota::Counted;
pub(crate) use tokens::Tokens;

/// What a path asks for.
enum Route<'a> {
    Token,
    Campaigns,
    Campaign(&'a str),
    Members(&'a str),
    Member(&'a str),
    Webhooks,
    Webhook(&'a str),
    Unknown,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Self {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let Some(rest) = segments.strip_prefix(&["api", "oauth2"]) else { return Self::Unknown };
        match rest {
            ["token"] => Self::Token,
            ["v2", "campaigns"] => Self::Campaigns,
            ["v2", "campaigns", id] if !id.is_empty() => Self::Campaign(id),
            ["v2", "campaigns", id, "members"] => Self::Members(id),
            ["v2", "members", id] if !id.is_empty() => Self::Member(id),
            ["v2", "webhooks"] => Self::Webhooks,
            ["v2", "webhooks", id] if !id.is_empty() => Self::Webhook(id),
            _ => Self::Unknown,
        }
    }

    fn template(&self) -> &'static str {
        match self {
            Self::Token => "/api/oauth2/token",
            Self::Campaigns => "/api/oauth2/v2/campaigns",
            Self::Campaign(_) => "/api/oauth2/v2/campaigns/{id}",
            Self::Members(_) => "/api/oauth2/v2/campaigns/{id}/members",
            Self::Member(_) => "/api/oauth2/v2/members/{id}",
            Self::Webhooks => "/api/oauth2/v2/webhooks",
            Self::Webhook(_) => "/api/oauth2/v2/webhooks/{id}",
            Self::Unknown => "unknown",
        }
    }

    /// The scope that the whole of the endpoint needs.
    fn scope(&self) -> Option<&'static str> {
        match self {
            Self::Campaigns | Self::Campaign(_) => Some("campaigns"),
            Self::Members(_) | Self::Member(_) => Some("campaigns.members"),
            Self::Webhooks | Self::Webhook(_) => Some("w:campaigns.webhook"),
            Self::Token | Self::Unknown => None,
        }
    }
}

/// Answers a request: the caller's name, token, limits, then the request itself.
pub(crate) fn answer(account: &Account, call: &Call) -> (&'static str, Answer) {
    let route = Route::of(&call.path);
    (route.template(), admitted(account, call, &route).unwrap_or_else(|refused| refused))
}

fn admitted(account: &Account, call: &Call, route: &Route<'_>) -> Result<Answer, Answer> {
    // Calls without a name are dropped before anybody looks at their token.
    if call.header("user-agent").is_none_or(|name| name.trim().is_empty()) {
        return Err(error_for(StatusCode::FORBIDDEN));
    }
    if let Route::Token = route {
        return tokens::refresh(account, call);
    }
    account.tokens.lock().check(call)?;
    let counted = Counted { template: route.template(), resource: "" };
    account.admit(counted).map_err(|refusal| throttled(seconds_up(refusal.wait).max(1)))?;
    if let Some(scope) = route.scope()
        && lacks(account, scope)
    {
        return Err(error_for(StatusCode::UNAUTHORIZED));
    }
    well_formed(call)?;
    match (route, &call.method) {
        (Route::Campaigns, &Method::GET) => campaigns::list(account, call),
        (Route::Campaign(id), &Method::GET) => campaigns::one(account, call, id),
        (Route::Members(id), &Method::GET) => members::list(account, call, id),
        (Route::Member(id), &Method::GET) => members::one(account, call, id),
        (Route::Webhooks, &Method::GET) => webhooks::list(account, call),
        (Route::Webhooks, &Method::POST) => webhooks::create(account, call),
        (Route::Webhook(id), &Method::PATCH) => webhooks::patch(account, call, id),
        (Route::Unknown | Route::Token, _) => Err(error_for(StatusCode::NOT_FOUND)),
        _ => Err(error_for(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

/// Whether the token was made without that scope.
fn lacks(account: &Account, scope: &str) -> bool {
    account.switches.lock().missing_scopes.iter().any(|missing| missing == scope)
}

/// Asks for JSON, and with its brackets percent-encoded.
fn well_formed(call: &Call) -> Result<(), Answer> {
    let takes_json = call.header("accept").is_none_or(|accept| {
        accept.split(',').any(|one| {
            let one = one.split(';').next().unwrap_or_default().trim();
            ["*/*", "application/*", "application/json", "application/vnd.api+json"].contains(&one)
        })
    });
    if !takes_json {
        return Err(error_for(StatusCode::NOT_ACCEPTABLE));
    }
    if call.raw_query.contains(['[', ']']) {
        return Err(bad_parameter("query", "Brackets must be percent-encoded."));
    }
    Ok(())
}

/// The error body of a status.
pub(crate) fn error_for(status: StatusCode) -> Answer {
    let (code_name, title) = match status.as_u16() {
        400 => ("BadRequest", "Bad request."),
        401 => ("Unauthorized", "The server could not verify that you are authorized."),
        403 => ("Forbidden", "You do not have access to this resource."),
        404 => ("ResourceMissing", "No such resource was found."),
        405 => ("MethodNotAllowed", "The method is not allowed for this resource."),
        406 => ("NotAcceptable", "Only JSON is served."),
        410 => ("ResourceGone", "The resource has been removed."),
        429 => return throttled(1),
        503 => ("ServiceUnavailable", "Down for maintenance."),
        _ => ("InternalServerError", "Something went wrong on our side."),
    };
    error(status, &Value::Null, code_name, title, None)
}

/// 400 for a query parameter.
fn bad_parameter(parameter: &str, title: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, &json!(1), "ParameterInvalid", title, Some(parameter))
}

/// 400 for a cursor that is broken or too old.
fn bad_cursor() -> Answer {
    let title = "Invalid value for parameter 'page[cursor]'.";
    error(StatusCode::BAD_REQUEST, &json!(3), "ParameterInvalidValue", title, Some("page[cursor]"))
}

fn throttled(seconds: u64) -> Answer {
    let title = "Too many attempts, slow down.";
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut answer = error(status, &Value::Null, "RequestThrottled", title, None);
    if let Some(error) = answer.body.pointer_mut("/errors/0") {
        put(error, "retry_after_seconds", json!(seconds));
    }
    answer
}

fn error(
    status: StatusCode,
    code: &Value,
    code_name: &str,
    title: &str,
    parameter: Option<&str>,
) -> Answer {
    let mut error = json!({
        "code": code, "code_name": code_name, "detail": title,
        "id": "0f0e0d0c-1111-4222-8333-444455556666",
        "status": status.as_str(), "title": title,
    });
    if let Some(parameter) = parameter {
        put(&mut error, "source", json!({ "parameter": parameter }));
    }
    Answer::error(status, json!({ "errors": [error] }))
}
