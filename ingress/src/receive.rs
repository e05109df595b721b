//! The one handler: verify, write to the inbox, enqueue, answer. It has two addresses: for what the
//! platforms send themselves, and for the notices of a bridge that tells what they do not.
//!
//! The commit in Postgres is the point of acceptance. Nothing before it is promised; nothing after
//! it can lose the webhook.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::fleet::Connection;
use common::job::{Job, Priority, Task};
use common::platform::{Acknowledgement, Notice, Refused, WebhookRequest, read_bridged};
use common::store::inbox::{self, Delivery, Source};
use common::{store, telemetry};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tracing::field::Empty;
use tracing::{Instrument, Span, error, info, info_span, warn};

use crate::Ingress;
use crate::clock::is_timely;
use crate::strangers::turn_away;

/// How long a platform is asked to wait when we cannot take its webhook.
const RETRY_AFTER_SECONDS: &str = "5";

/// The webhook is accepted by then; the platform is not kept waiting for Redis. Klaviyo gives up
/// after five seconds.
const ENQUEUE_WITHIN: Duration = Duration::from_secs(1);

/// For a turn at Postgres. Longer ones are better sent again: when all wait as long as they may wait at
/// all, they give up when it is their turn, and nothing is accepted any more.
const TURN_WITHIN: Duration = Duration::from_secs(1);

/// Why a webhook is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// No such path: nothing is told about which part of it is wrong, or that it is the path.
    Unknown,
    TooLarge,
    TooSlow,
    Broken,
    Forged,
    /// The platform tests us with a wrong signature; no reason for alarm.
    Probe,
    NotUnderstood,
    /// We are the problem: the platform sends it again.
    Overloaded,
    StoreAway,
}

impl Rejection {
    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::TooLarge => "too-large",
            Self::TooSlow => "too-slow",
            Self::Broken => "broken",
            Self::Forged => "forged",
            Self::Probe => "probe",
            Self::NotUnderstood => "not-understood",
            Self::Overloaded => "overloaded",
            Self::StoreAway => "store-away",
        }
    }

    /// Never 410: Eventbrite unsubscribes an endpoint that answers it.
    const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Unknown | Self::Forged | Self::Probe => StatusCode::UNAUTHORIZED,
            Self::NotUnderstood => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded | Self::StoreAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let status = self.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            (status, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)]).into_response()
        } else {
            status.into_response()
        }
    }
}

fn acknowledge(acknowledgement: Acknowledgement) -> Response {
    match acknowledgement {
        Acknowledgement::Accepted => StatusCode::ACCEPTED.into_response(),
        Acknowledgement::NoContent => {
            (StatusCode::NO_CONTENT, [(header::CONTENT_TYPE, "application/json")]).into_response()
        }
    }
}

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The platform's.
    Platform,
    /// That of a bridge of ours.
    Bridge,
}

impl Sender {
    const fn route(self) -> &'static str {
        match self {
            Self::Platform => "/webhooks/{platform}/{endpoint}",
            Self::Bridge => "/notices/{platform}/{endpoint}",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Platform => "webhook",
            Self::Bridge => "notice",
        }
    }
}

/// `POST /webhooks/{platform}/{endpoint}`: 202, or what the platform wants in its place, once the
/// webhook is written down.
pub(crate) async fn webhook(
    ingress: State<Arc<Ingress>>,
    path: Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    receive(Sender::Platform, ingress, path, headers, body).await
}

/// `POST /notices/{platform}/{endpoint}`: 202 once the notice is written down. A connection without
/// a secret for notices is as unknown here as one that there is not.
pub(crate) async fn notice(
    ingress: State<Arc<Ingress>>,
    path: Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    receive(Sender::Bridge, ingress, path, headers, body).await
}

/// The trace begins here: a `traceparent` from outside is a stranger's word.
async fn receive(
    from: Sender,
    State(ingress): State<Arc<Ingress>>,
    Path((platform, endpoint)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let span = info_span!(
        parent: None,
        "webhook",
        otel.name = format!("POST {}", from.route()),
        otel.kind = "server",
        http.request.method = "POST",
        http.route = from.route(),
        http.response.status_code = Empty,
        syncline.lane = Empty,
        syncline.notices = Empty,
        error.type = Empty,
    );
    let answer = async {
        let known = ingress
            .fleet
            .connections
            .by_endpoint(&platform, &endpoint)
            .filter(|known| from == Sender::Platform || known.notice_secret.is_some());
        // The label of a metric is one of ours, never a stranger's text.
        let label = known.map_or("unknown", |connection| connection.platform.name());
        let outcome = match known {
            Some(connection) => accept(from, &ingress, connection, &headers, body).await,
            None => Err(turn_away(from, &ingress, &platform, &headers, body).await),
        };
        match outcome {
            Ok(acknowledgement) => {
                match from {
                    Sender::Platform => ingress.metrics.webhook_received(label),
                    Sender::Bridge => ingress.metrics.notice_received(label),
                }
                acknowledge(acknowledgement)
            }
            Err(rejection) => {
                match from {
                    Sender::Platform => ingress.metrics.webhook_refused(label, rejection.name()),
                    Sender::Bridge => ingress.metrics.notice_refused(label, rejection.name()),
                }
                Span::current().record("error.type", rejection.name());
                rejection.into_response()
            }
        }
    }
    .instrument(span.clone())
    .await;
    span.record("http.response.status_code", answer.status().as_u16());
    answer
}

async fn accept(
    from: Sender,
    ingress: &Ingress,
    connection: &Connection,
    headers: &HeaderMap,
    body: Body,
) -> Result<Acknowledgement, Rejection> {
    Span::current().record("syncline.lane", connection.lane().as_str());
    let read = read(ingress, headers, body).await?;
    let request = WebhookRequest { headers, body: &read.body };
    let notices = match from {
        Sender::Platform => connection
            .platform
            .receive(&connection.account, &request)
            .map_err(|refused| refuse(from, connection, &refused))?,
        Sender::Bridge => read_notice(ingress, connection, &request).await?,
    };
    if from == Sender::Platform {
        judge_time(ingress, connection, &request).await?;
    }
    Span::current().record("syncline.notices", notices.len());
    if !notices.is_empty() {
        let trace = telemetry::current_traceparent();
        write_down(ingress, connection, &notices, &trace).await?;
        enqueue(ingress, connection, notices, &trace).await;
    }
    Ok(match from {
        Sender::Platform => connection.platform.acknowledgement(),
        Sender::Bridge => Acknowledgement::Accepted,
    })
}

/// A body, and the place that it takes.
pub(crate) struct Read<'a> {
    pub(crate) body: Bytes,
    _in_flight: SemaphorePermit<'a>,
    _room: SemaphorePermit<'a>,
}

/// Reads a body, bounded in size and time, where there is a place for it.
pub(crate) async fn read<'a>(
    ingress: &'a Ingress,
    headers: &HeaderMap,
    body: Body,
) -> Result<Read<'a>, Rejection> {
    let in_flight = ingress.in_flight.try_acquire().map_err(|_| Rejection::Overloaded)?;
    let room = ingress.memory.reserve(headers, ingress.body_limit_bytes);
    let room = room.ok_or(Rejection::Overloaded)?;
    let reading = timeout(ingress.request_timeout, to_bytes(body, ingress.body_limit_bytes));
    match reading.await {
        Ok(Ok(body)) => Ok(Read { body, _in_flight: in_flight, _room: room }),
        Ok(Err(error)) if is_too_large(&error) => Err(Rejection::TooLarge),
        Ok(Err(_)) => Err(Rejection::Broken),
        Err(_) => Err(Rejection::TooSlow),
    }
}

/// What a bridge tells. Postgres is asked for the time once the signature is right, and not for
/// strangers.
async fn read_notice(
    ingress: &Ingress,
    connection: &Connection,
    request: &WebhookRequest<'_>,
) -> Result<Vec<Notice>, Rejection> {
    let refuse = |refused: Refused| refuse(Sender::Bridge, connection, &refused);
    let secret = connection.notice_secret.as_ref().ok_or(Rejection::Unknown)?;
    let bridged = read_bridged(secret, connection.platform.records(), request).map_err(refuse)?;
    match timeout(ingress.request_timeout, store::now(&ingress.fleet.db)).await {
        Ok(Ok(now)) => bridged.received_at(now).map_err(refuse),
        Ok(Err(error)) => {
            warn!(%error, "notice not taken: nobody tells what time it is");
            Err(Rejection::StoreAway)
        }
        Err(_) => Err(Rejection::StoreAway),
    }
}

/// Says why something is not taken.
fn refuse(from: Sender, connection: &Connection, refused: &Refused) -> Rejection {
    let (lane, what) = (connection.lane(), from.name());
    match refused {
        Refused::Forged(_) => {
            warn!(%lane, what, reason = %refused, "webhook refused");
            Rejection::Forged
        }
        Refused::Probe => {
            info!(%lane, what, reason = %refused, "webhook refused");
            Rejection::Probe
        }
        Refused::NotUnderstood(_) => {
            error!(%lane, what, reason = %refused, "webhook refused");
            Rejection::NotUnderstood
        }
    }
}

/// What was signed longer ago than the platform goes on sending it is somebody else's repetition. It
/// would only cost a look.
async fn judge_time(
    ingress: &Ingress,
    connection: &Connection,
    request: &WebhookRequest<'_>,
) -> Result<(), Rejection> {
    let Some(signed) = connection.platform.signed_at(request) else { return Ok(()) };
    let asking = timeout(ingress.request_timeout, ingress.clock.now(&ingress.fleet.db));
    match asking.await {
        Ok(Ok(now)) if is_timely(signed, now) => Ok(()),
        Ok(Ok(_)) => {
            warn!(lane = %connection.lane(), signed_at = %signed.at, "webhook refused: it is too old");
            Err(Rejection::Forged)
        }
        Ok(Err(error)) => {
            warn!(%error, "webhook not taken: nobody tells what time it is");
            Err(Rejection::StoreAway)
        }
        Err(_) => Err(Rejection::StoreAway),
    }
}

async fn write_down(
    ingress: &Ingress,
    connection: &Connection,
    notices: &[Notice],
    trace: &str,
) -> Result<(), Rejection> {
    let pairs: Vec<_> = notices
        .iter()
        .map(|notice| (notice.record_type.clone(), notice.external_id.clone()))
        .collect();
    let delivery = Delivery {
        connection: connection.id,
        priority: Priority::Webhook,
        source: Source::Webhook,
        trace,
        notices: &pairs,
    };
    let turn = timeout(TURN_WITHIN, ingress.writers.acquire()).await;
    let Ok(Ok(_turn)) = turn else { return Err(Rejection::Overloaded) };
    let written = timeout(ingress.request_timeout, inbox::accept(&ingress.fleet.db, &delivery));
    match written.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            warn!(%error, "webhook not written down: the platform is asked to send it again");
            Err(Rejection::StoreAway)
        }
        Err(_) => Err(Rejection::StoreAway),
    }
}

/// From here on the webhook is accepted. When Redis is away the sweeper enqueues it later.
async fn enqueue(ingress: &Ingress, connection: &Connection, notices: Vec<Notice>, trace: &str) {
    let jobs: Vec<Job> = notices
        .into_iter()
        .map(|notice| Job {
            lane: connection.lane().clone(),
            task: Task::Check { record_type: notice.record_type, external_id: notice.external_id },
            priority: Priority::Webhook,
            trace: trace.to_owned(),
        })
        .collect();
    let span = info_span!("enqueue", otel.kind = "producer", messaging.system = "redis");
    match timeout(ENQUEUE_WITHIN, ingress.fleet.queue.enqueue(&jobs)).instrument(span).await {
        Ok(Ok(_)) => {
            let (platform, jobs) = (connection.platform.name(), jobs.len() as u64);
            ingress.metrics.jobs_enqueued(platform, Priority::Webhook.name(), jobs);
        }
        Ok(Err(error)) => warn!(%error, "not enqueued yet: the sweeper will"),
        Err(_) => warn!("Redis is silent; not enqueued yet: the sweeper will"),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}
