//! The control API: the methods of [`World`] over HTTP, on a listener of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::config::{Config, Switches};
use crate::fault::{Fault, Hits};
use crate::gate::{GateRule, GateState};
use crate::journal::{Fetches, RequestRow};
use crate::record::{Platform, RecordId, RecordType};
use crate::records::ChangeError;
use crate::truth::Truth;
use crate::world::{ChangeRequest, Frozen, Stats, World};

type Shared = State<Arc<World>>;

/// Notices that one call may announce.
const MOST_ANNOUNCED: usize = 100_000;

/// The paths below `/`; all answers are JSON.
pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/health", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/stats", get(stats))
        .route("/truth", get(truth))
        .route("/requests", get(requests))
        .route("/fetches", get(fetches))
        .route("/freeze", post(freeze))
        .route("/thaw", post(thaw))
        .route("/change", post(change))
        .route("/announce", post(announce))
        .route("/fault", post(fault))
        .route("/fault/clear", post(clear_faults))
        .route("/gate", get(gate_state).post(gate))
        .route("/gate/open", post(open_gate))
        .route("/gate/held", get(held))
        .route("/webhook/target", post(target))
        .route("/webhook/enabled", post(enabled))
        .route("/bridge/target", post(bridge_target))
        .route("/switches", get(switches).post(set_switches))
        .route("/tokens/expire", post(expire_tokens))
        .route("/universe", get(universe))
        .with_state(world)
}

async fn stats(State(world): Shared) -> Json<Stats> {
    Json(world.stats())
}

async fn truth(State(world): Shared) -> Json<Truth> {
    Json(world.truth())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestsQuery {
    platform: Platform,
    #[serde(default = "hundred")]
    last: usize,
}

fn hundred() -> usize {
    100
}

async fn requests(
    State(world): Shared,
    Query(query): Query<RequestsQuery>,
) -> Json<Vec<RequestRow>> {
    Json(world.requests(query.platform, query.last))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FetchesQuery {
    platform: Platform,
    record_type: RecordType,
    external_id: String,
}

async fn fetches(State(world): Shared, Query(query): Query<FetchesQuery>) -> Json<Fetches> {
    let id = RecordId::new(query.record_type, query.external_id);
    Json(world.fetches(query.platform, &id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    #[serde(default = "ten_seconds")]
    wait_ms: u64,
    #[serde(default = "one")]
    count: u64,
}

fn ten_seconds() -> u64 {
    10_000
}

fn one() -> u64 {
    1
}

async fn freeze(State(world): Shared, Query(query): Query<WaitQuery>) -> Json<Frozen> {
    Json(world.freeze(Duration::from_millis(query.wait_ms)).await)
}

async fn thaw(State(world): Shared) -> StatusCode {
    world.thaw();
    StatusCode::NO_CONTENT
}

async fn change(State(world): Shared, Json(request): Json<ChangeRequest>) -> Response {
    match world.change(&request) {
        Ok(changed) => Json(changed).into_response(),
        Err(error) => {
            let status = match error {
                ChangeError::NoRecord => StatusCode::NOT_FOUND,
                ChangeError::NotPossible => StatusCode::BAD_REQUEST,
                ChangeError::InUse => StatusCode::CONFLICT,
            };
            (status, Json(json!({ "error": error.to_string() }))).into_response()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnnounceRequest {
    platform: Platform,
    record_type: RecordType,
    external_id: String,
    times: usize,
}

async fn announce(State(world): Shared, Json(request): Json<AnnounceRequest>) -> StatusCode {
    let id = RecordId::new(request.record_type, request.external_id);
    world.announce(request.platform, &id, request.times.min(MOST_ANNOUNCED));
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct FaultRequest {
    platform: Platform,
    #[serde(flatten)]
    fault: Fault,
    #[serde(flatten)]
    hits: Hits,
}

async fn fault(State(world): Shared, Json(request): Json<FaultRequest>) -> StatusCode {
    world.fault(request.platform, request.fault, request.hits);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformOnly {
    platform: Platform,
}

async fn clear_faults(State(world): Shared, Json(request): Json<PlatformOnly>) -> StatusCode {
    world.clear_faults(request.platform);
    StatusCode::NO_CONTENT
}

async fn gate_state(State(world): Shared) -> Json<GateState> {
    Json(world.gate_state())
}

async fn gate(State(world): Shared, Json(rule): Json<GateRule>) -> StatusCode {
    world.gate(rule);
    StatusCode::NO_CONTENT
}

async fn open_gate(State(world): Shared) -> StatusCode {
    world.open_gate();
    StatusCode::NO_CONTENT
}

#[derive(Serialize)]
struct Held {
    held: bool,
}

async fn held(State(world): Shared, Query(query): Query<WaitQuery>) -> Json<Held> {
    let limit = Duration::from_millis(query.wait_ms);
    Json(Held { held: world.wait_until_held(query.count, limit).await })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetRequest {
    platform: Platform,
    target: Option<Url>,
}

async fn target(State(world): Shared, Json(request): Json<TargetRequest>) -> StatusCode {
    world.set_webhook_target(request.platform, request.target);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnabledRequest {
    platform: Platform,
    enabled: bool,
}

async fn enabled(State(world): Shared, Json(request): Json<EnabledRequest>) -> StatusCode {
    world.set_webhook_enabled(request.platform, request.enabled);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BridgeRequest {
    target: Option<Url>,
}

async fn bridge_target(State(world): Shared, Json(request): Json<BridgeRequest>) -> StatusCode {
    world.set_bridge_target(request.target);
    StatusCode::NO_CONTENT
}

async fn switches(State(world): Shared, Query(query): Query<PlatformOnly>) -> Json<Switches> {
    Json(world.switches(query.platform))
}

/// The switches that the body names are set, the others stay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchesRequest {
    platform: Platform,
    switches: Value,
}

async fn set_switches(State(world): Shared, Json(request): Json<SwitchesRequest>) -> Response {
    let mut switches = json!(world.switches(request.platform));
    // A map is replaced whole: what it does not name any more is switched off.
    if let (Value::Object(switches), Value::Object(over)) = (&mut switches, request.switches) {
        switches.extend(over);
    }
    match serde_json::from_value(switches) {
        Ok(switches) => {
            world.set_switches(request.platform, switches);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => {
            (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response()
        }
    }
}

async fn expire_tokens(State(world): Shared) -> StatusCode {
    world.expire_tokens();
    StatusCode::NO_CONTENT
}

async fn universe(State(world): Shared) -> Json<Config> {
    Json(world.config().clone())
}
