//! The only way out: one HTTP client for the process, and a permit for every request.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use opentelemetry::global;
use opentelemetry::propagation::Injector;
use reqwest::{Client, Request, Response, redirect, retry};
use rustls::crypto::{CryptoProvider, ring};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use url::Url;

use crate::platform::answer::Answer;
use crate::platform::{Account, PlatformError};
use crate::quota::{Permit, Permits, QuotaError, RateSignal};

/// How often a permit is taken anew because it was too late to use.
const MAX_LATE_PERMITS: u32 = 3;

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
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(15),
            whole: Duration::from_secs(30),
            max_body_bytes: 8 * 1024 * 1024,
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
}

impl Api {
    /// A client that follows no redirect and repeats no request by itself: each request on the
    /// wire is one that a permit was taken for.
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
            .user_agent(concat!("Syncline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect)
            .read_timeout(settings.read)
            .timeout(settings.whole)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .gzip(true)
            .pool_idle_timeout(Duration::from_mins(1))
            .pool_max_idle_per_host(32)
            .build()
            .map_err(ApiError)?;
        Ok(Self { client, settings })
    }

    /// The longest that a request can be on its way.
    pub fn whole_timeout(&self) -> Duration {
        self.settings.whole
    }

    /// Sends a request; says what became of it and what the platform told about its limits.
    async fn exchange(
        &self,
        request: Request,
        dialect: &Dialect,
    ) -> (Result<Answer, PlatformError>, RateSignal) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the permit has been taken, the span is open"
        )]
        let response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => return (Err(transport(&error)), RateSignal::default()),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        Span::current().record("http.response.status_code", status.as_u16());
        let signal = (dialect.signal)(status, &headers);
        let answer = self.body(response).await.map(|body| Answer { status, headers, body });
        (answer, signal)
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

/// How a platform wants to be asked.
pub(super) struct Dialect {
    /// What stands before the token in the `Authorization` header.
    pub scheme: &'static str,
    /// Headers of every request.
    pub headers: &'static [(&'static str, &'static str)],
    /// What an answer says about limits. A refusal because of them must have `refused_for`.
    pub signal: fn(StatusCode, &HeaderMap) -> RateSignal,
}

/// One job's right to speak to one account.
pub struct Call<'a> {
    api: &'a Api,
    account: &'a Account,
    permits: &'a dyn Permits,
    kind: &'a str,
}

impl<'a> Call<'a> {
    /// - `permits`: where each request gets its permit from, for jobs of `kind`
    ///   ([`crate::job::JobId::kind`]).
    pub fn new(
        api: &'a Api,
        account: &'a Account,
        permits: &'a dyn Permits,
        kind: &'a str,
    ) -> Self {
        Self { api, account, permits, kind }
    }

    /// The account that is spoken to.
    pub fn account(&self) -> &'a Account {
        self.account
    }

    /// Takes a permit, sends one GET request, and settles the permit with what the answer said.
    /// Gives the answer whatever its status, except when the platform refused because of its
    /// limits.
    ///
    /// - `template`: the path below the account's base URL, `/events/{id}/`.
    /// - `path`: what takes the place of each `{…}`, in order; escaped here.
    /// - `query`: escaped here.
    ///
    /// Dropping the future leaves the permit unsettled: it then holds its slot until its
    /// deadline, as if no answer had come, which is what the platform may have seen.
    pub(super) async fn get(
        &self,
        dialect: &Dialect,
        template: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, PlatformError> {
        let url = self.url(template, path, query)?;
        let span = info_span!(
            "platform request",
            otel.name = format!("GET {template}"),
            otel.kind = "client",
            http.request.method = "GET",
            http.response.status_code = Empty,
            url.template = template,
            server.address = url.host_str(),
            server.port = url.port_or_known_default(),
            error.type = Empty,
            syncline.lane = %self.account.lane,
            syncline.permit_wait_ms = Empty,
        );
        let answer = self.send(dialect, url, &span).instrument(span.clone()).await;
        if let Err(error) = &answer {
            span.record("error.type", error.name());
        }
        answer
    }

    async fn send(
        &self,
        dialect: &Dialect,
        url: Url,
        span: &Span,
    ) -> Result<Answer, PlatformError> {
        let mut request = Request::new(Method::GET, url);
        *request.headers_mut() = self.headers(dialect)?;
        inject_trace(span, request.headers_mut());

        let permit = self.permit(span).await.map_err(PlatformError::NoPermit)?;
        let (answer, signal) = self.api.exchange(request, dialect).await;
        let refused_for = signal.refused_for;
        self.permits.settle(permit, signal).await;
        match refused_for {
            Some(retry_after) => Err(PlatformError::Throttled { retry_after }),
            None => answer,
        }
    }

    /// A permit that can still be used. One that came too late is dropped and not settled: it
    /// holds its slot until its deadline, which is the safe side.
    async fn permit(&self, span: &Span) -> Result<Permit, QuotaError> {
        let asked_at = Instant::now();
        for _ in 0..MAX_LATE_PERMITS {
            let permit = self.permits.take(self.kind).await?;
            let now = Instant::now();
            if now < permit.use_by {
                span.record("syncline.permit_wait_ms", (now - asked_at).as_millis());
                return Ok(permit);
            }
        }
        Err(QuotaError::After(Duration::from_secs(1)))
    }

    fn headers(&self, dialect: &Dialect) -> Result<HeaderMap, PlatformError> {
        let token = self.account.token.expose_secret();
        let mut authorization = HeaderValue::from_str(&format!("{} {token}", dialect.scheme))
            .map_err(|_| PlatformError::Unauthorized {
                reason: "the token is no header value".to_owned(),
            })?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, authorization)]);
        for &(name, value) in dialect.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Ok(headers)
    }

    fn url(
        &self,
        template: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Url, PlatformError> {
        let unusable = |what: &str| PlatformError::Unexpected { what: what.to_owned() };
        let mut url = self.account.base_url.clone();
        let mut values = path.iter();
        {
            let mut segments =
                url.path_segments_mut().map_err(|()| unusable("the base URL takes no path"))?;
            segments.pop_if_empty();
            for segment in template.trim_start_matches('/').split('/') {
                if !segment.starts_with('{') {
                    segments.push(segment);
                    continue;
                }
                match values.next() {
                    // These would vanish from the path and leave the URL of something else.
                    None | Some(&("" | "." | "..")) => return Err(unusable("no id for the path")),
                    Some(value) => segments.push(value),
                };
            }
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

/// Carries the trace on, as the configured propagator writes it (`traceparent`).
fn inject_trace(span: &Span, headers: &mut HeaderMap) {
    struct Headers<'a>(&'a mut HeaderMap);

    impl Injector for Headers<'_> {
        fn set(&mut self, key: &str, value: String) {
            if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), value.parse()) {
                self.0.insert(name, value);
            }
        }
    }

    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&span.context(), &mut Headers(headers));
    });
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
