//! Eventbrite's API under `/v3` as its API Blueprint describes it.

mod expand;
mod lists;
pub(crate) mod notice;
mod page;
mod shown;
mod webhooks;

use axum::http::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::quota::Counted;
use crate::record::{RecordId, RecordType};
use crate::records::ChangeKind;
use expand::Expansions;

/// What a path asks for. Every path ends in a slash.
#[derive(Clone, Copy)]
enum Route<'a> {
    OrganizationEvents(&'a str),
    OrganizationAttendees(&'a str),
    OrganizationOrders(&'a str),
    OrganizationWebhooks(&'a str),
    Event(&'a str),
    EventAttendees(&'a str),
    EventAttendee(&'a str, &'a str),
    EventOrders(&'a str),
    Order(&'a str),
    Webhook(&'a str),
    Unknown,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Self {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["v3", "organizations", org, "events", ""] => Self::OrganizationEvents(org),
            ["v3", "organizations", org, "attendees", ""] => Self::OrganizationAttendees(org),
            ["v3", "organizations", org, "orders", ""] => Self::OrganizationOrders(org),
            ["v3", "organizations", org, "webhooks", ""] => Self::OrganizationWebhooks(org),
            ["v3", "events", id, ""] => Self::Event(id),
            ["v3", "events", event, "attendees", ""] => Self::EventAttendees(event),
            ["v3", "events", event, "attendees", id, ""] => Self::EventAttendee(event, id),
            ["v3", "events", event, "orders", ""] => Self::EventOrders(event),
            ["v3", "orders", id, ""] => Self::Order(id),
            ["v3", "webhooks", id, ""] => Self::Webhook(id),
            _ => Self::Unknown,
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::OrganizationEvents(_) => "/v3/organizations/{id}/events/",
            Self::OrganizationAttendees(_) => "/v3/organizations/{id}/attendees/",
            Self::OrganizationOrders(_) => "/v3/organizations/{id}/orders/",
            Self::OrganizationWebhooks(_) => "/v3/organizations/{id}/webhooks/",
            Self::Event(_) => "/v3/events/{id}/",
            Self::EventAttendees(_) => "/v3/events/{id}/attendees/",
            Self::EventAttendee(..) => "/v3/events/{id}/attendees/{id}/",
            Self::EventOrders(_) => "/v3/events/{id}/orders/",
            Self::Order(_) => "/v3/orders/{id}/",
            Self::Webhook(_) => "/v3/webhooks/{id}/",
            Self::Unknown => "unknown",
        }
    }

    fn organization(self) -> Option<&'a str> {
        match self {
            Self::OrganizationEvents(org)
            | Self::OrganizationAttendees(org)
            | Self::OrganizationOrders(org)
            | Self::OrganizationWebhooks(org) => Some(org),
            _ => None,
        }
    }
}

/// Answers a request: token, then limits, then the request itself.
pub(crate) fn answer(account: &Account, call: &Call) -> (&'static str, Answer) {
    let route = Route::of(&call.path);
    (route.template(), admitted(account, call, route).unwrap_or_else(|refused| refused))
}

fn admitted(account: &Account, call: &Call, route: Route<'_>) -> Result<Answer, Answer> {
    authenticate(account, call)?;
    // Nothing but the body says so: no headers are documented.
    account
        .admit(Counted { template: route.template(), resource: "" })
        .map_err(|_| error_for(StatusCode::TOO_MANY_REQUESTS))?;
    // None is known here; a known one that the caller may not use would be a 403.
    for header in ["eb-api-switches-enabled", "eb-api-switches-disabled"] {
        if call.header(header).is_some_and(|value| !value.is_empty()) {
            return Err(error(400, "INVALID_ARGUMENT", "There is no such API switch."));
        }
    }
    if route.organization().is_some_and(|org| org != account.config.eventbrite.organization_id) {
        return Err(error_for(StatusCode::FORBIDDEN));
    }
    match (&call.method, route) {
        (&Method::GET, Route::Webhook(_)) => Err(error_for(StatusCode::METHOD_NOT_ALLOWED)),
        (&Method::GET, route) => read(account, call, route),
        (&Method::POST, Route::OrganizationWebhooks(_)) => webhooks::create(account, call),
        (&Method::DELETE, Route::Webhook(id)) => webhooks::delete(account, call, id),
        (_, Route::Unknown) => Err(error_for(StatusCode::NOT_FOUND)),
        _ => Err(error_for(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn read(account: &Account, call: &Call, route: Route<'_>) -> Result<Answer, Answer> {
    match route {
        Route::OrganizationEvents(_) => lists::events(account, call),
        Route::OrganizationAttendees(_) => lists::attendees(account, call, None),
        Route::OrganizationOrders(_) => lists::orders(account, call, None),
        Route::OrganizationWebhooks(_) => webhooks::list(account, call),
        Route::Event(id) => one(account, call, RecordId::new(RecordType::Event, id)),
        Route::EventAttendees(event) => {
            existing(account, event)?;
            lists::attendees(account, call, Some(event))
        }
        Route::EventAttendee(event, id) => {
            one(account, call, RecordId::new(RecordType::Attendee, format!("{event}/{id}")))
        }
        Route::EventOrders(event) => {
            existing(account, event)?;
            lists::orders(account, call, Some(event))
        }
        Route::Order(id) => one(account, call, RecordId::new(RecordType::Order, id)),
        Route::Webhook(_) | Route::Unknown => Err(error_for(StatusCode::NOT_FOUND)),
    }
}

/// The three ways in which a token fails have three codes, two of them with status 400.
fn authenticate(account: &Account, call: &Call) -> Result<(), Answer> {
    let expected = account.config.eventbrite.token.0.as_str();
    let given = match (call.header("authorization"), call.parameter("token")) {
        (Some(header), _) => header.strip_prefix("Bearer ").ok_or_else(|| {
            error(400, "INVALID_AUTH_HEADER", "The authorization header is malformed.")
        })?,
        (None, Some(token)) => token,
        (None, None) => return Err(error(401, "NO_AUTH", "Authentication is required.")),
    };
    if given == expected {
        Ok(())
    } else {
        Err(error(400, "INVALID_AUTH", "The token is invalid."))
    }
}

fn existing(account: &Account, event: &str) -> Result<(), Answer> {
    let id = RecordId::new(RecordType::Event, event);
    let seen = account.universe.lock().records.seen(&id, Instant::now());
    seen.map(drop).ok_or_else(|| error_for(StatusCode::NOT_FOUND))
}

fn one(account: &Account, call: &Call, id: RecordId) -> Result<Answer, Answer> {
    no_stray(call, &["token", "expand"])?;
    let expansions = Expansions::of(account, call, id.record_type)?;
    let universe = account.universe.lock();
    let seen = universe.records.seen(&id, Instant::now());
    let gone_by = universe.records.gone_by(&id);
    drop(universe);
    Ok(match seen {
        Some(version) => {
            let mut record = shown::record(account, &id, &version);
            expansions.fill(account, &id, &mut record);
            Answer::ok(record)
        }
        // Nobody paid for it in time.
        None if id.record_type == RecordType::Order && gone_by == Some(ChangeKind::Clock) => {
            error(400, "ORDER_EXPIRED", "The order has expired.")
        }
        None => error_for(StatusCode::NOT_FOUND),
    }
    .about([id], Asked::Alone))
}

/// The error body of a status.
pub(crate) fn error_for(status: StatusCode) -> Answer {
    let (code, description) = match status.as_u16() {
        401 => ("ACCESS_DENIED", "Access is denied."),
        403 => ("NOT_AUTHORIZED", "You are not authorized for this object."),
        404 => ("NOT_FOUND", "The object does not exist."),
        405 => ("METHOD_NOT_ALLOWED", "The method is not allowed."),
        409 => ("REQUEST_CONFLICT", "The request conflicts with another."),
        429 => ("HIT_RATE_LIMIT", "Your token has reached its rate limit."),
        _ => ("INTERNAL_ERROR", "An unhandled error occurred."),
    };
    error(status.as_u16(), code, description)
}

/// 400 for an argument that the platform does not take.
fn bad_argument(name: &str) -> Answer {
    error(
        400,
        "ARGUMENTS_ERROR",
        &format!("There are errors with your arguments: {name} - INVALID"),
    )
}

/// 400 when a query parameter is unknown or comes twice.
fn no_stray(call: &Call, known: &[&str]) -> Result<(), Answer> {
    call.stray_parameter(known).map_or(Ok(()), |stray| Err(bad_argument(stray)))
}

fn error(status: u16, code: &str, description: &str) -> Answer {
    let body = json!({ "status_code": status, "error": code, "error_description": description });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer::error(status, body)
}
