//! Klaviyo's API as its OpenAPI document of revision 2026-07-15 describes it.

pub(crate) mod events;
mod filter;
mod lists;
pub(crate) mod notice;
mod page;
mod profiles;
mod webhooks;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::limit::seconds_up;
use crate::quota::Counted;

/// What a path asks for.
enum Route<'a> {
    Profiles,
    Profile(&'a str),
    Lists,
    List(&'a str),
    ListProfiles(&'a str),
    ListRelationships(&'a str),
    Events,
    Event(&'a str),
    Webhooks,
    Webhook(&'a str),
    Topics,
    Unknown,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Self {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["api", "profiles"] => Self::Profiles,
            ["api", "profiles", id] if !id.is_empty() => Self::Profile(id),
            ["api", "lists"] => Self::Lists,
            ["api", "lists", id] if !id.is_empty() => Self::List(id),
            ["api", "lists", id, "profiles"] => Self::ListProfiles(id),
            ["api", "lists", id, "relationships", "profiles"] => Self::ListRelationships(id),
            ["api", "events"] => Self::Events,
            ["api", "events", id] if !id.is_empty() => Self::Event(id),
            ["api", "webhook-topics"] => Self::Topics,
            ["api", "webhooks"] => Self::Webhooks,
            ["api", "webhooks", id] if !id.is_empty() => Self::Webhook(id),
            _ => Self::Unknown,
        }
    }

    fn template(&self) -> &'static str {
        match self {
            Self::Profiles => "/api/profiles",
            Self::Profile(_) => "/api/profiles/{id}",
            Self::Lists => "/api/lists",
            Self::List(_) => "/api/lists/{id}",
            Self::ListProfiles(_) => "/api/lists/{id}/profiles",
            Self::ListRelationships(_) => "/api/lists/{id}/relationships/profiles",
            Self::Events => "/api/events",
            Self::Event(_) => "/api/events/{id}",
            Self::Topics => "/api/webhook-topics",
            Self::Webhooks => "/api/webhooks",
            Self::Webhook(_) => "/api/webhooks/{id}",
            Self::Unknown => "unknown",
        }
    }
}

/// Answers a request: key, then limits, then revision, then the request itself.
pub(crate) fn answer(account: &Account, call: &Call) -> (&'static str, Answer) {
    let route = Route::of(&call.path);
    (route.template(), admitted(account, call, &route).unwrap_or_else(|refused| refused))
}

fn admitted(account: &Account, call: &Call, route: &Route<'_>) -> Result<Answer, Answer> {
    authenticate(account, call)?;
    let counted = Counted { template: counted_as(route, call), resource: "" };
    account.admit(counted).map_err(|refusal| {
        let wait = seconds_up(refusal.wait).max(1);
        let detail = format!("Request was throttled. Expected available in {wait} seconds.");
        let body = errors(429, "throttled", "Request was throttled.", &detail, Value::Null);
        Answer::error(StatusCode::TOO_MANY_REQUESTS, body).header("retry-after", &wait)
    })?;
    let answer = revised(account, call)
        .and_then(|()| match (route, &call.method) {
            (Route::Profiles, &Method::GET) => profiles::list(account, call),
            (Route::Profile(id), &Method::GET) => profiles::one(account, call, id),
            (Route::Lists, &Method::GET) => lists::list(account, call),
            (Route::List(id), &Method::GET) => lists::one(account, call, id),
            (Route::ListProfiles(id), &Method::GET) => lists::profiles(account, call, id),
            (Route::ListRelationships(id), &Method::GET) => lists::relationships(account, call, id),
            (Route::Events, &Method::GET) => events::list(account, call),
            (Route::Event(id), &Method::GET) => events::one(account, call, id),
            (Route::Topics, &Method::GET) => webhooks::topics(call),
            (Route::Webhooks, &Method::GET) => webhooks::list(account, call),
            (Route::Webhook(id), &Method::GET) => webhooks::one(account, call, id),
            (Route::Webhook(id), &Method::PATCH) => webhooks::patch(account, call, id),
            (Route::Unknown, _) => Err(error_for(StatusCode::NOT_FOUND)),
            _ => Err(error_for(StatusCode::METHOD_NOT_ALLOWED)),
        })
        .unwrap_or_else(|refused| refused);
    // The longest window, that is the steady one; the burst is never told.
    Ok(match account.standing(counted, None) {
        Some(standing) if answer.status.is_success() => answer
            .header("ratelimit-limit", &standing.limit)
            .header("ratelimit-remaining", &standing.remaining)
            .header("ratelimit-reset", &seconds_up(standing.reset)),
        _ => answer,
    })
}

/// The endpoint under whose limits a request falls: dearer ones have limits of their own.
fn counted_as(route: &Route<'_>, call: &Call) -> &'static str {
    let asks = |name: &str, for_it: &str| {
        call.parameter(name).is_some_and(|text| text.split(',').any(|one| one == for_it))
    };
    let predictive = asks("additional-fields[profile]", "predictive_analytics");
    match route {
        Route::Profile(_) if call.parameter("include").is_some() => "/api/profiles/{id}?include",
        Route::Profile(_) if predictive => "/api/profiles/{id}?predictive_analytics",
        Route::Profiles if predictive => "/api/profiles?predictive_analytics",
        Route::ListProfiles(_) if predictive => "/api/lists/{id}/profiles?predictive_analytics",
        Route::List(_) if asks("additional-fields[list]", "profile_count") => {
            "/api/lists/{id}?profile_count"
        }
        route => route.template(),
    }
}

/// A missing key is a 400 and a wrong one a 401: the documents name both statuses.
fn authenticate(account: &Account, call: &Call) -> Result<(), Answer> {
    let expected = &account.config.klaviyo.api_key.0;
    let given = call.header("authorization");
    match given.map(|value| value.strip_prefix("Klaviyo-API-Key ")) {
        Some(Some(key)) if key == expected => Ok(()),
        Some(_) => Err(error_for(StatusCode::UNAUTHORIZED)),
        None => Err(Answer::error(
            StatusCode::BAD_REQUEST,
            errors(
                400,
                "not_authenticated",
                "Authentication credentials were not provided.",
                "Missing or invalid private key.",
                json!({ "pointer": "/data/" }),
            ),
        )),
    }
}

/// An unknown or retired revision falls forward unless the caller has opted out of that.
fn revised(account: &Account, call: &Call) -> Result<(), Answer> {
    let known = &account.config.klaviyo.revisions;
    let Some(revision) = call.header("revision") else {
        return Err(invalid("revision", "The 'revision' header is required."));
    };
    let opted_out = call.header("x-klaviyo-revision-fall-forward-opt-out") == Some("1");
    if !opted_out || known.iter().any(|one| one == revision) {
        return Ok(());
    }
    if known.first().is_some_and(|oldest| revision < oldest.as_str()) {
        return Err(error_for(StatusCode::GONE));
    }
    Err(invalid("revision", "The requested revision does not exist."))
}

/// The error body of a status.
pub(crate) fn error_for(status: StatusCode) -> Answer {
    let (code, title, detail) = match status.as_u16() {
        401 => (
            "authentication_failed",
            "Incorrect authentication credentials.",
            "Incorrect authentication credentials.",
        ),
        403 => ("permission_denied", "You do not have permission.", "A scope is missing."),
        404 => ("not_found", "Not found.", "A resource with that id does not exist."),
        405 => ("method_not_allowed", "Method not allowed.", "Method not allowed."),
        410 => ("revision_retired", "Gone.", "The requested revision is retired."),
        429 => ("throttled", "Request was throttled.", "Request was throttled."),
        _ => ("error", "A server error occurred.", "A server error occurred."),
    };
    Answer::error(status, errors(status.as_u16(), code, title, detail, Value::Null))
}

/// 400 for a parameter.
fn invalid(parameter: &str, detail: &str) -> Answer {
    let source = json!({ "parameter": parameter });
    Answer::error(StatusCode::BAD_REQUEST, errors(400, "invalid", "Invalid input.", detail, source))
}

/// 400 when a query parameter is unknown or comes twice.
fn no_stray(call: &Call, known: &[&str]) -> Result<(), Answer> {
    call.stray_parameter(known).map_or(Ok(()), |stray| {
        let detail = format!("'{stray}' is not a valid field for this resource.");
        Err(invalid(stray, &detail))
    })
}

fn errors(status: u16, code: &str, title: &str, detail: &str, source: Value) -> Value {
    let source = if source.is_null() { json!({}) } else { source };
    json!({ "errors": [{
        "id": "11112222-3333-4444-8555-666677778888",
        "status": status, "code": code, "title": title, "detail": detail,
        "source": source, "links": {}, "meta": {},
    }] })
}
