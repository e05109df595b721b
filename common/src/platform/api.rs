//! The only way out: one HTTP client for the process.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::HeaderMap;
use reqwest::{Client, Request, Response, redirect, retry};
use rustls::crypto::{CryptoProvider, ring};
use tokio::time::Instant;
use tracing::Span;

use crate::ids::Lane;
use crate::platform::answer::Answer;
use crate::platform::{Account, PlatformError};
use crate::quota::RateSignal;
use crate::telemetry::Metrics;

/// How long a request may take and how large its answer may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSettings {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub read: Duration,
    /// From the start until the last byte. The client gives up here, and a permit without an
    /// answer holds its slot until one window after that.
    pub whole: Duration,
    /// Largest body that is read, in bytes after decompression.
    pub max_body_bytes: usize,
    /// Where a platform learns who runs this, for the `User-Agent`; may be empty.
    pub contact: String,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(15),
            whole: Duration::from_secs(30),
            max_body_bytes: 8 * 1024 * 1024,
            contact: String::new(),
        }
    }
}

/// The TLS roots or the resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be started")]
pub struct ApiError(#[source] reqwest::Error);

/// The HTTP client of the process, with its pool of connections.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    settings: ApiSettings,
    metrics: Metrics,
}

impl Api {
    /// A client that speaks HTTP/2 where the platform does, over connections that it keeps. It
    /// follows no redirect and repeats no request by itself: each request on the
    /// wire is one that a permit was taken for. To be made after [`crate::telemetry::start`], or
    /// its requests are not counted.
    ///
    /// # Errors
    ///
    /// When the TLS roots or the resolver cannot be set up.
    pub fn new(settings: ApiSettings) -> Result<Self, ApiError> {
        if CryptoProvider::get_default().is_none() {
            // An error says that another thread was faster, which is as good.
            let _installed = ring::default_provider().install_default();
        }
        #[expect(clippy::disallowed_methods, reason = "this is the one client of the process")]
        let client = Client::builder()
            .user_agent(user_agent(&settings.contact))
            .connect_timeout(settings.connect)
            .read_timeout(settings.read)
            .timeout(settings.whole)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .gzip(true)
            .brotli(true)
            .pool_idle_timeout(Duration::from_mins(1))
            .pool_max_idle_per_host(32)
            .build()
            .map_err(ApiError)?;
        Ok(Self { client, settings, metrics: Metrics::default() })
    }

    /// Where a platform learns who runs this; may be empty.
    pub(super) fn contact(&self) -> &str {
        &self.settings.contact
    }

    /// What is counted of answers.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The longest that a request can be on its way.
    pub fn whole_timeout(&self) -> Duration {
        self.settings.whole
    }

    /// Sends a request; says what became of it.
    pub(super) async fn exchange(
        &self,
        request: Request,
        dialect: &Dialect,
        lane: &Lane,
    ) -> Exchange {
        let sent_at = Instant::now();
        let exchange = self.send(request, dialect).await;
        let outcome = match &exchange.answer {
            Err(error) => error.name(),
            Ok(answer) if answer.status.is_client_error() => "status-4xx",
            Ok(answer) if answer.status.is_server_error() => "status-5xx",
            Ok(_) => "ok",
        };
        self.metrics.fetched(lane.platform(), outcome, sent_at.elapsed());
        if exchange.signal.as_ref().is_some_and(RateSignal::is_over_quota) {
            self.metrics.over_quota(lane.platform(), lane.as_str());
        }
        if exchange.counts_to_ban {
            self.metrics.counted_to_ban(lane.platform(), lane.as_str());
        }
        exchange
    }

    async fn send(&self, request: Request, dialect: &Dialect) -> Exchange {
        #[expect(clippy::disallowed_methods, reason = "the permit is taken, the span is open")]
        let response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                let answer = Err(transport(&error));
                return Exchange { answer, signal: None, counts_to_ban: false };
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        Span::current().record("http.response.status_code", status.as_u16());
        let mut signal = (dialect.signal)(status, &headers);
        let counts_to_ban = (dialect.counts_to_ban)(status, &headers);
        let answer = self.body(response).await.map(|body| Answer { status, headers, body });
        if let Ok(answer) = &answer {
            (dialect.body_signal)(answer, &mut signal);
        }
        Exchange { answer, signal: Some(signal), counts_to_ban }
    }

    /// Reads the body as long as it is not too long, whatever its headers say.
    async fn body(&self, mut response: Response) -> Result<Bytes, PlatformError> {
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| transport(&error))? {
            if body.len() + piece.len() > self.settings.max_body_bytes {
                let what = format!("a body of more than {} bytes", self.settings.max_body_bytes);
                return Err(PlatformError::Transient { what, retry_after: None });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }
}

/// Who we are, to a platform that wants no form of its own.
fn user_agent(contact: &str) -> String {
    let name = concat!("Syncline/", env!("CARGO_PKG_VERSION"));
    if contact.is_empty() { name.to_owned() } else { format!("{name} (+{contact})") }
}

/// How a platform wants to be asked.
pub(super) struct Dialect {
    /// What stands before the token in the `Authorization` header.
    pub scheme: &'static str,
    /// Headers of every request.
    pub headers: &'static [(&'static str, &'static str)],
    /// Its own form of the `User-Agent`, where it has one; of the contact, which may be empty, and
    /// the account.
    pub user_agent: Option<fn(&str, &Account) -> String>,
    /// The type of bodies that are sent.
    pub body_type: &'static str,
    /// What an answer says about limits. A refusal because of them must have `refused_for`.
    pub signal: fn(StatusCode, &HeaderMap) -> RateSignal,
    /// What the body of an answer adds to that.
    pub body_signal: fn(&Answer, &mut RateSignal),
    /// Whether an answer counts towards a block of our address.
    pub counts_to_ban: fn(StatusCode, &HeaderMap) -> bool,
}

/// What became of a request.
pub(super) struct Exchange {
    pub answer: Result<Answer, PlatformError>,
    /// What the answer told about limits; `None` when there was no answer.
    pub signal: Option<RateSignal>,
    /// Whether it counts towards a block of our address.
    pub counts_to_ban: bool,
}

/// What a failed exchange means: it may go better next time. Tells the innermost cause, which has
/// neither the URL nor a header.
fn transport(error: &reqwest::Error) -> PlatformError {
    let what = if error.is_timeout() {
        "time-out".to_owned()
    } else {
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let stage = if error.is_connect() { "no connection" } else { "broken off" };
        if cause.source().is_none() && error.source().is_none() {
            stage.to_owned()
        } else {
            format!("{stage}: {cause}")
        }
    };
    PlatformError::Transient { what, retry_after: None }
}
