//! Renewing a token: one request to the platform's token endpoint.
//!
//! Source: RFC 6749, "The OAuth 2.0 Authorization Framework", sections 2.3.1, 5 and 6.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use reqwest::Request;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::ids::Lane;
use crate::platform::answer::{Answer, error_code, retry_after};
use crate::platform::api::{Dialect, Exchange};
use crate::platform::{Api, PlatformError};
use crate::quota::RateSignal;

/// After a refusal because of limits that names no time.
const PAUSE: Duration = Duration::from_mins(1);
/// No token is kept for longer than this without asking: ten years.
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 3650);

/// Where a platform's tokens are renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OAuthEndpoint {
    /// Its address. Where the configuration has another base URL, its path is asked there.
    pub url: &'static str,
    /// How our application says who it is.
    pub client: ClientAuth,
}

/// How our application says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// As `client_id` and `client_secret` in the form.
    Form,
    /// In the header `Authorization: Basic`.
    Basic,
}

/// One request for new tokens.
#[derive(Clone, Debug)]
pub struct RefreshRequest {
    /// Where.
    pub url: Url,
    /// How the application says who it is.
    pub client: ClientAuth,
    /// What the platform calls the application.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: SecretString,
    /// What the new tokens are given for. Many platforms take each but once.
    pub refresh_token: SecretString,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct NewTokens {
    /// The token to send from now on.
    pub token: SecretString,
    /// The next refresh token; `None` when the one that was used stays.
    pub refresh_token: Option<SecretString>,
    /// How long the token lasts, counted from when it was asked for.
    pub expires_in: Option<Duration>,
}

/// Why there are no new tokens, by what became of the refresh token.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RefreshError {
    /// It is not accepted, or the application is not.
    #[error("the platform refuses to renew the token ({code})")]
    Refused {
        /// The platform's error code.
        code: String,
    },
    /// It was not used: try again later.
    #[error("the token is not renewed: {what}")]
    Failed {
        /// What was answered.
        what: String,
        /// When the platform asked us to come back, if it did.
        retry_after: Option<Duration>,
    },
    /// Nobody knows whether it was used: there is no answer, or none that tells.
    #[error("the token may have been renewed, and the answer is lost: {what}")]
    Lost {
        /// What happened.
        what: String,
    },
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    /// A number, and with some a number as text.
    #[serde(default)]
    expires_in: Value,
}

#[derive(Default, Deserialize)]
struct Denied {
    #[serde(default)]
    error: Value,
}

/// There is nothing to say but the content itself: no token is sent here.
const DIALECT: Dialect = Dialect {
    scheme: "",
    headers: &[],
    user_agent: None,
    body_type: "application/x-www-form-urlencoded",
    signal,
    body_signal: |_, _| {},
    // Few are sent, and a refusal is not repeated.
    counts_to_ban: |_, _| false,
};

fn signal(status: StatusCode, headers: &HeaderMap) -> RateSignal {
    let refused = status == StatusCode::TOO_MANY_REQUESTS;
    let refused_for = refused.then(|| retry_after(headers).unwrap_or(PAUSE));
    RateSignal { refused_for, ..RateSignal::default() }
}

impl Api {
    /// Asks for new tokens, in one request that was paid for.
    ///
    /// What is told of a failure holds no secret. `None` beside it: there was no answer, and the
    /// permit holds its slot until its deadline.
    pub async fn refresh(
        &self,
        refresh: &RefreshRequest,
        lane: &Lane,
    ) -> (Result<NewTokens, RefreshError>, Option<RateSignal>) {
        let Some(request) = refresh.request() else {
            let what = "the application's id or secret is no header value".to_owned();
            return (Err(RefreshError::Failed { what, retry_after: None }), None);
        };
        let Exchange { answer, signal, .. } = self.exchange(request, &DIALECT, lane).await;
        let tokens = match answer {
            Ok(answer) => granted(&answer),
            Err(PlatformError::Transient { what, .. }) => Err(RefreshError::Lost { what }),
            Err(error) => Err(RefreshError::Lost { what: error.to_string() }),
        };
        (tokens, signal)
    }
}

impl RefreshRequest {
    fn request(&self) -> Option<Request> {
        let mut request = Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("refresh_token", self.refresh_token.expose_secret());
        let (id, secret) = (self.client_id.as_str(), self.client_secret.expose_secret());
        match self.client {
            ClientAuth::Form => {
                form.append_pair("client_id", id);
                form.append_pair("client_secret", secret);
            }
            ClientAuth::Basic => {
                let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = STANDARD.encode(format!("{}:{}", escaped(id), escaped(secret)));
                let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
        }
        *request.body_mut() = Some(form.finish().into());
        Some(request)
    }
}

fn granted(answer: &Answer) -> Result<NewTokens, RefreshError> {
    let status = answer.status.as_u16();
    let what = format!("status {status}");
    match status {
        200..=299 => {
            let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| {
                // What is wrong with it is not told: it may quote a token.
                RefreshError::Lost { what: "no tokens in the answer".to_owned() }
            })?;
            Ok(NewTokens {
                token: granted.access_token,
                refresh_token: granted.refresh_token,
                expires_in: seconds(&granted.expires_in),
            })
        }
        400 | 401 => {
            let denied: Denied = serde_json::from_slice(&answer.body).unwrap_or_default();
            let code = error_code(denied.error.as_str().unwrap_or_default());
            let space = if code.is_empty() { "" } else { " " };
            Err(RefreshError::Refused { code: format!("{status}{space}{code}") })
        }
        500..=599 => Err(RefreshError::Lost { what }),
        _ => Err(RefreshError::Failed { what, retry_after: retry_after(&answer.headers) }),
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let life = Duration::try_from_secs_f64(seconds).ok()?;
    Some(life.min(LONGEST_LIFE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.into() }
    }

    #[test]
    fn tokens_are_read_from_the_answer_of_the_documents() {
        let body = r#"{"access_token": "at", "refresh_token": "rt", "expires_in": "2678400",
            "scope": "campaigns", "token_type": "Bearer"}"#;
        let tokens = granted(&answer(200, body)).unwrap();
        assert_eq!(tokens.token.expose_secret(), "at");
        assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "rt");
        assert_eq!(tokens.expires_in, Some(Duration::from_hours(31 * 24)));
        let bare = granted(&answer(200, r#"{"access_token": "at"}"#)).unwrap();
        assert!(bare.refresh_token.is_none() && bare.expires_in.is_none());
    }

    #[test]
    fn a_failure_says_what_became_of_the_refresh_token() {
        let refused = |code: &str| RefreshError::Refused { code: code.to_owned() };
        let lost = |what: &str| RefreshError::Lost { what: what.to_owned() };
        let failed = |what: &str| RefreshError::Failed { what: what.to_owned(), retry_after: None };
        for (status, body, expected) in [
            (400, r#"{"error": "invalid_grant"}"#, refused("400 invalid_grant")),
            (401, r#"{"error": "invalid_client <b>"}"#, refused("401 invalid_clientb")),
            (400, r#"{"error": {"no": "text"}}"#, refused("400")),
            (200, r#"{"access_token": 7}"#, lost("no tokens in the answer")),
            (200, "<html>", lost("no tokens in the answer")),
            (503, "", lost("status 503")),
            (302, "", failed("status 302")),
            (403, "", failed("status 403")),
            (429, "", failed("status 429")),
        ] {
            assert_eq!(granted(&answer(status, body)).unwrap_err(), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_application_says_who_it_is_in_the_form_or_in_a_header() {
        let refresh = RefreshRequest {
            url: "https://example.test/token".parse().unwrap(),
            client: ClientAuth::Form,
            client_id: "me".to_owned(),
            client_secret: "s&cret".into(),
            refresh_token: "r=t".into(),
        };
        let body = |request: &Request| {
            String::from_utf8(request.body().unwrap().as_bytes().unwrap().to_vec()).unwrap()
        };
        let form = refresh.request().unwrap();
        assert_eq!(
            body(&form),
            "grant_type=refresh_token&refresh_token=r%3Dt&client_id=me&client_secret=s%26cret"
        );
        let basic = RefreshRequest { client: ClientAuth::Basic, ..refresh }.request().unwrap();
        assert_eq!(body(&basic), "grant_type=refresh_token&refresh_token=r%3Dt");
        let header = &basic.headers()[AUTHORIZATION];
        assert_eq!(header.to_str().unwrap(), format!("Basic {}", STANDARD.encode("me:s%26cret")));
        assert!(header.is_sensitive() && !format!("{:?}", basic.headers()).contains("Basic"));
    }
}
