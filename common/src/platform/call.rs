//! The right to speak to one account, and a permit for every request.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use reqwest::Request;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use url::Url;

use crate::ids::Lane;
use crate::platform::answer::Answer;
use crate::platform::api::{Dialect, Exchange};
use crate::platform::{
    Account, Api, CurrentToken, NewTokens, PlatformError, RefreshError, RefreshRequest,
};
use crate::quota::{Permit, Permits, QuotaError, RateSignal};
use crate::telemetry::current_traceparent;

/// A platform that refuses and names no time, or none that is left, is left alone for this long.
const SHORTEST_FREEZE: Duration = Duration::from_secs(1);

/// How often a permit is taken anew because it was too late to use.
const MAX_LATE_PERMITS: u32 = 3;

/// How many tokens one request is tried with: the one that it had, the one that another renewed
/// meanwhile, the one that it renewed itself.
const MAX_TOKENS: u32 = 3;

/// A request as it is to be sent, but for the token.
struct Asked {
    method: Method,
    template: &'static str,
    url: Url,
    body: Option<String>,
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

    /// Notes that records of this kind had so many keys that no document names.
    pub(super) fn note_unknown_keys(&self, record_type: &'static str, keys: u64) {
        if keys > 0 {
            self.api.metrics().unknown_keys(self.account.lane.platform(), record_type, keys);
        }
    }

    /// Takes a permit, sends one GET request, and settles the permit with what the answer said.
    /// Gives the answer whatever its status, except when the platform refused because of its
    /// limits.
    ///
    /// - `template`: the path below the account's base URL, `/events/{id}/`.
    /// - `path`: what takes the place of each `{…}`, in order; escaped here.
    /// - `query`: escaped here.
    ///
    /// Dropping the future, or a request without an answer, leaves the permit unsettled: it then
    /// holds its slot until its deadline.
    pub(super) async fn get(
        &self,
        dialect: &Dialect,
        template: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, PlatformError> {
        let url = self.url(template, path, query)?;
        self.request(dialect, Asked { method: Method::GET, template, url, body: None }).await
    }

    /// The same for a request that changes something, with a body in JSON.
    ///
    /// Sent once more only with another token, when the platform refused the one that it had; what
    /// it asks for must be the same whether it is done once or twice.
    pub(super) async fn change(
        &self,
        dialect: &Dialect,
        method: Method,
        template: &'static str,
        path: &[&str],
        body: &Value,
    ) -> Result<Answer, PlatformError> {
        let url = self.url(template, path, &[])?;
        let body = Some(body.to_string());
        self.request(dialect, Asked { method, template, url, body }).await
    }

    async fn request(&self, dialect: &Dialect, asked: Asked) -> Result<Answer, PlatformError> {
        let Asked { method, template, url, .. } = &asked;
        let span = info_span!(
            "platform request",
            otel.name = format!("{method} {template}"),
            otel.kind = "client",
            http.request.method = method.as_str(),
            http.response.status_code = Empty,
            url.template = template,
            server.address = url.host_str(),
            server.port = url.port_or_known_default(),
            error.type = Empty,
            syncline.lane = %self.account.lane,
            syncline.permit_wait_ms = Empty,
        );
        let answer = self.send(dialect, &asked, &span).instrument(span.clone()).await;
        if let Err(error) = &answer {
            span.record("error.type", error.name());
        }
        answer
    }

    async fn send(
        &self,
        dialect: &Dialect,
        asked: &Asked,
        span: &Span,
    ) -> Result<Answer, PlatformError> {
        let mut token = self.account.token.current(self).await?;
        for _ in 0..MAX_TOKENS {
            let answer = self.send_with(dialect, &token, asked, span).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            match self.account.token.after_refusal(token.version, self).await? {
                Some(newer) => token = newer,
                None => return Ok(answer),
            }
        }
        let what = "it changed again and again while it was used".to_owned();
        Err(PlatformError::NoToken { what, retry_after: SHORTEST_FREEZE })
    }

    async fn send_with(
        &self,
        dialect: &Dialect,
        token: &CurrentToken,
        asked: &Asked,
        span: &Span,
    ) -> Result<Answer, PlatformError> {
        let mut request = Request::new(asked.method.clone(), asked.url.clone());
        *request.headers_mut() = headers(dialect, token)?;
        if let Some(form) = dialect.user_agent {
            let name = form(self.api.contact(), self.account);
            let name = HeaderValue::from_str(&name).map_err(|_| PlatformError::Unexpected {
                what: "a User-Agent that is no header value".to_owned(),
            })?;
            request.headers_mut().insert(USER_AGENT, name);
        }
        if let Some(body) = &asked.body {
            let json = HeaderValue::from_static(dialect.body_type);
            request.headers_mut().insert(CONTENT_TYPE, json);
            *request.body_mut() = Some(body.clone().into());
        }
        // The request's own span is entered here; it is empty when nothing is traced.
        if let Ok(traceparent) = current_traceparent().parse::<HeaderValue>()
            && !traceparent.is_empty()
        {
            request.headers_mut().insert("traceparent", traceparent);
        }

        let exchange = async {
            let Exchange { answer, signal, counts_to_ban } =
                self.api.exchange(request, dialect, &self.account.lane).await;
            if counts_to_ban {
                self.permits.failed().await;
            }
            (answer, signal)
        };
        self.under_permit(span, exchange).await
    }

    /// Takes a permit, makes one exchange with the platform under it, and settles it with what the
    /// answer said about limits.
    ///
    /// - `exchange`: sends the request as soon as it is polled, or never. What the answer means, and
    ///   what it says about limits; `None` where there was none.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoPermit`] when nothing was sent, [`PlatformError::Throttled`] when the
    /// platform refused because of its limits, and those of the exchange.
    pub async fn under_permit<T>(
        &self,
        span: &Span,
        exchange: impl Future<Output = (Result<T, PlatformError>, Option<RateSignal>)>,
    ) -> Result<T, PlatformError> {
        let permit = self.permit(span).await.map_err(PlatformError::NoPermit)?;
        let (answer, signal) = exchange.await;
        // Without an answer nobody knows whether, and when, the platform counts the request: the
        // permit then holds its slot until its deadline.
        let Some(signal) = signal else { return answer };
        match self.settle(permit, signal).await {
            Some(retry_after) => Err(PlatformError::Throttled { retry_after }),
            None => answer,
        }
    }

    /// Settles a permit whose request was answered; how long the platform wants to be left alone,
    /// where it refused because of its limits.
    async fn settle(&self, permit: Permit, mut signal: RateSignal) -> Option<Duration> {
        signal.refused_for = signal.refused_for.map(|wait| wait.max(SHORTEST_FREEZE));
        let refused_for = signal.refused_for;
        self.permits.settle(permit, signal).await;
        refused_for
    }

    /// The right to one request for new tokens, paid like any other. Taken before anything else is
    /// done, so that nothing has begun where there is none.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoPermit`]: nothing was sent.
    pub async fn pay_refresh(&self) -> Result<PaidRefresh, PlatformError> {
        let permit = self.permit(&Span::none()).await.map_err(PlatformError::NoPermit)?;
        Ok(PaidRefresh { permit, api: self.api.clone(), lane: self.account.lane.clone() })
    }

    /// Tells what became of a request that was paid for.
    pub async fn settle_refresh(&self, permit: Permit, signal: Option<RateSignal>) {
        if let Some(signal) = signal {
            self.settle(permit, signal).await;
        }
    }

    /// The longest that a request can be on its way.
    pub fn whole_timeout(&self) -> Duration {
        self.api.whole_timeout()
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

fn headers(dialect: &Dialect, token: &CurrentToken) -> Result<HeaderMap, PlatformError> {
    let scheme = if token.bearer { "Bearer" } else { dialect.scheme };
    let secret = token.secret.expose_secret();
    let mut authorization = HeaderValue::from_str(&format!("{scheme} {secret}")).map_err(|_| {
        PlatformError::Unauthorized { reason: "the token is no header value".to_owned() }
    })?;
    authorization.set_sensitive(true);
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, authorization)]);
    for &(name, value) in dialect.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ok(headers)
}

/// One request for new tokens that was paid for. It does not borrow from its call, so that it can
/// be ended when the job that began it cannot: its answer must not be lost.
#[derive(Debug)]
pub struct PaidRefresh {
    permit: Permit,
    api: Api,
    lane: Lane,
}

impl PaidRefresh {
    /// Sends it, if its permit can still be used. Gives the permit back, for
    /// [`Call::settle_refresh`].
    pub async fn send(
        self,
        request: &RefreshRequest,
    ) -> (Result<NewTokens, RefreshError>, Permit, Option<RateSignal>) {
        let Self { permit, api, lane } = self;
        if Instant::now() >= permit.use_by {
            let what = "its permit came too late".to_owned();
            return (Err(RefreshError::Failed { what, retry_after: None }), permit, None);
        }
        let span = info_span!(
            "platform request",
            otel.name = "POST token endpoint",
            otel.kind = "client",
            http.request.method = "POST",
            http.response.status_code = Empty,
            url.template = request.url.path(),
            server.address = request.url.host_str(),
            server.port = request.url.port_or_known_default(),
            error.type = Empty,
            syncline.lane = %lane,
        );
        let (tokens, signal) = api.refresh(request, &lane).instrument(span.clone()).await;
        if tokens.is_err() {
            span.record("error.type", "not_renewed");
        }
        (tokens, permit, signal)
    }
}
