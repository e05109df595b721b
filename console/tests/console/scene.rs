//! A console over a database and a namespace in Redis that no other test uses.

use std::collections::BTreeMap;
use std::env;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use common::config::{Config, ConsoleConfig};
use common::fleet::Health;
use common::ids::{ConnectionId, Lane};
use common::link::Links;
use common::queue::{Keys, LaneBook, QueueSettings, RedisQueue};
use common::store::connections::{NewConnection, upsert};
use console::Sources;
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const TOKEN: &str = "an example token 0123456789";

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The section of the configuration, with or without a token.
pub(crate) fn config(token: &str) -> ConsoleConfig {
    let variables = [
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/none"),
        ("SYNCLINE__CONSOLE__TOKEN", token),
        // What one console has seen it keeps for half of this, longer than any story.
        ("SYNCLINE__CONSOLE__REFRESH", "10m"),
    ];
    let environment: BTreeMap<String, String> =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Config::from_parts(None, &environment).unwrap().console
}

/// A queue under keys that no other test uses.
pub(crate) fn queue(url: &str) -> RedisQueue {
    let keys = Keys::new(&format!("{}-", Uuid::now_v7()));
    let tags = keys.shards().map(|shard| keys.shard(shard));
    let links = Links::new(&url.parse().unwrap(), tags).unwrap();
    RedisQueue::new(links, keys, LaneBook::default(), QueueSettings::default())
}

/// Both stores, and the connections `klaviyo/main` and `eventbrite/main`.
pub(crate) struct Scene {
    pub(crate) db: PgPool,
    pub(crate) queue: RedisQueue,
    pub(crate) klaviyo: ConnectionId,
}

impl Scene {
    pub(crate) async fn new(db: PgPool) -> Self {
        let url = env::var("REDIS_URL").expect("REDIS_URL: `cargo xtask test` sets it");
        let new = |name, endpoint| NewConnection {
            lane: lane(name),
            account: String::new(),
            endpoint_hash: [endpoint; 32],
        };
        let wanted = [new("eventbrite/main", 1), new("klaviyo/main", 2)];
        let klaviyo = upsert(&db, &wanted).await.unwrap()[1].id;
        Self { db, queue: queue(&url), klaviyo }
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources {
            db: self.db.clone(),
            queue: self.queue.clone(),
            lanes: Vec::new(),
            limits: BTreeMap::new(),
        }
    }

    /// A console that starts now, so that it keeps nothing from before.
    pub(crate) fn console(&self, token: &str) -> Router {
        console::router(self.sources(), &config(token), &Health::default())
    }

    /// What somebody on this machine sees at `path`.
    pub(crate) async fn see(&self, path: &str) -> Answer {
        send(&self.console(""), get(path)).await
    }
}

pub(crate) fn lane(name: &str) -> Lane {
    name.parse().unwrap()
}

/// A request from this machine.
pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "localhost:8083").body(Body::empty()).unwrap()
}

pub(crate) async fn send(console: &Router, request: Request<Body>) -> Answer {
    let response = console.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1024 * 1024).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}
