//! A platform of a few lines, and permits from a purse.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use crate::quota::{Permit, Permits, QuotaError, RateSignal};

/// A request as it arrived, its query decoded.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An HTTP server on a free port that answers as it is told and remembers what it was asked.
pub(crate) struct Fake {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    _serving: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start<F>(answer: F) -> Self
    where
        F: Fn(&Seen) -> Response + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&seen);
        let router = Router::new().fallback(async move |request: Request<Body>| {
            let (head, body) = request.into_parts();
            let query = head.uri.query().unwrap_or_default();
            let seen = Seen {
                method: head.method,
                path: head.uri.path().to_owned(),
                query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
                headers: head.headers,
                body: to_bytes(body, 64 * 1024).await.unwrap(),
            };
            remembered.lock().unwrap().push(seen.clone());
            answer(&seen)
        });
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, _serving: serving }
    }

    /// What it was asked, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

pub(crate) fn answer(status: u16, body: impl Into<String>) -> Response {
    (StatusCode::from_u16(status).unwrap(), body.into()).into_response()
}

/// So many permits and no more; remembers how each was settled.
pub(crate) struct Purse {
    left: Mutex<u32>,
    late: Mutex<u32>,
    settled: Mutex<Vec<(String, RateSignal)>>,
    failed: Mutex<u32>,
}

impl Purse {
    pub(crate) fn of(permits: u32) -> Self {
        Self {
            left: Mutex::new(permits),
            late: Mutex::new(0),
            settled: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// The first `late` permits are too late when they arrive.
    pub(crate) fn with_late(permits: u32, late: u32) -> Self {
        Self { late: Mutex::new(late), ..Self::of(permits) }
    }

    /// Answers that count towards a block.
    pub(crate) fn failed(&self) -> u32 {
        *self.failed.lock().unwrap()
    }

    pub(crate) fn left(&self) -> u32 {
        *self.left.lock().unwrap()
    }

    /// The kinds and signals of the permits that were settled.
    pub(crate) fn settled(&self) -> Vec<(String, RateSignal)> {
        self.settled.lock().unwrap().clone()
    }
}

#[async_trait]
impl Permits for Purse {
    async fn take(&self, kind: &str) -> Result<Permit, QuotaError> {
        let mut left = self.left.lock().unwrap();
        *left = left.checked_sub(1).ok_or(QuotaError::After(Duration::from_secs(9)))?;
        let mut late = self.late.lock().unwrap();
        let in_time = if *late > 0 { Duration::ZERO } else { Duration::from_secs(5) };
        *late = late.saturating_sub(1);
        Ok(Permit { id: i64::from(*left), kind: kind.to_owned(), use_by: Instant::now() + in_time })
    }

    async fn settle(&self, permit: Permit, signal: RateSignal) {
        self.settled.lock().unwrap().push((permit.kind, signal));
    }

    async fn failed(&self) {
        *self.failed.lock().unwrap() += 1;
    }
}
