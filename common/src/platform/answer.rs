//! What a platform answered, before an adapter knows what it means.

use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, HeaderMap, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use jiff::{Timestamp, Zoned};
use serde::Deserialize;

use crate::platform::PlatformError;

/// Longest pause that a platform can impose with one answer.
const MAX_PAUSE: Duration = Duration::from_hours(24);

/// An answer of any status, with its whole body.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What an answer means, as far as its status and its error code tell.
#[derive(Debug)]
pub(super) enum Meaning {
    /// As asked.
    Fine,
    /// There is no such record.
    Missing,
    /// There was such a record, and it is gone for good.
    Gone,
    /// This one thing is kept from us; other requests may well succeed.
    Forbidden(String),
    /// We no longer get at what the record belongs to, which says nothing about the record.
    OutOfReach(String),
    /// Anything else.
    Failed(PlatformError),
}

impl Meaning {
    /// For requests that are not about one record, where a missing thing is a surprise and a
    /// forbidden one concerns the whole connection.
    pub(super) fn into_result(self) -> Result<(), PlatformError> {
        match self {
            Self::Fine => Ok(()),
            Self::Missing => Err(PlatformError::Unexpected { what: "status 404".to_owned() }),
            Self::Gone => Err(PlatformError::Unexpected { what: "status 410".to_owned() }),
            Self::Forbidden(reason) | Self::OutOfReach(reason) => {
                Err(PlatformError::Unauthorized { reason })
            }
            Self::Failed(error) => Err(error),
        }
    }
}

impl Answer {
    /// The body as JSON of this form.
    ///
    /// # Errors
    ///
    /// `Transient` when it is no JSON (a proxy's page, half a body), `Unexpected` when it is JSON
    /// of another form. Neither quotes the body.
    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PlatformError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let at = format!("line {} column {}", error.line(), error.column());
            if error.is_data() {
                PlatformError::Unexpected { what: format!("a field of another form, {at}") }
            } else {
                PlatformError::Transient { what: format!("not JSON, {at}"), retry_after: None }
            }
        })
    }

    /// When it was made, by the platform's clock; before all times where it does not tell.
    pub(super) fn now(&self) -> Timestamp {
        let date = self.headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
        date.map_or(Timestamp::MIN, |date| date.timestamp())
    }

    /// What every platform means by these statuses; `None` where it depends.
    pub(super) fn common_meaning(&self) -> Option<Meaning> {
        let status = self.status.as_u16();
        let transient = |what: String| {
            Meaning::Failed(PlatformError::Transient {
                what,
                retry_after: retry_after(&self.headers),
            })
        };
        match status {
            200..=299 => Some(Meaning::Fine),
            300..=399 => Some(transient(format!("a redirect ({status}), not followed"))),
            408 | 500..=599 => Some(transient(format!("status {status}"))),
            _ => None,
        }
    }
}

/// How long the platform wants to be left alone: `Retry-After` in seconds, or as a date that is
/// compared with the answer's own `Date`. At most a day.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let wait = text(RETRY_AFTER)?.trim();
    let pause = if let Ok(seconds) = wait.parse() {
        Duration::from_secs(seconds)
    } else {
        let (until, now) = (http_date(wait)?, http_date(text(DATE)?)?);
        until.duration_since(&now).try_into().unwrap_or(Duration::ZERO)
    };
    Some(pause.min(MAX_PAUSE))
}

/// What time it was at the platform when it answered.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    headers.get(DATE)?.to_str().ok().and_then(http_date).map(|date| date.timestamp())
}

/// A time in a header: an HTTP date, or seconds since 1970.
pub(super) fn instant(value: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok()?.trim();
    match text.parse() {
        Ok(seconds) => Timestamp::from_second(seconds).ok(),
        Err(_) => http_date(text).map(|date| date.timestamp()),
    }
}

/// A pause of so many seconds, at most a day; `None` for what is no length of time.
pub(super) fn pause(seconds: f64) -> Option<Duration> {
    if seconds >= MAX_PAUSE.as_secs_f64() {
        return Some(MAX_PAUSE);
    }
    Duration::try_from_secs_f64(seconds).ok()
}

fn http_date(text: &str) -> Option<Zoned> {
    jiff::fmt::rfc2822::parse(text).ok()
}

/// An error code fit for a log: a platform's word, not its prose.
pub(super) fn error_code(code: &str) -> String {
    let fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    code.chars().filter(fit).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_longer_than_a_day() {
        let cases = [
            (Some("7"), None, Some(7)),
            (Some("999999999"), None, Some(86_400)),
            (
                Some("Thu, 04 Jan 2024 18:05:55 GMT"),
                Some("Thu, 04 Jan 2024 18:05:25 GMT"),
                Some(30),
            ),
            (Some("Thu, 04 Jan 2024 18:05:00 GMT"), Some("Thu, 04 Jan 2024 18:05:25 GMT"), Some(0)),
            (Some("Thu, 04 Jan 2024 18:05:55 GMT"), None, None),
            (Some("soon"), Some("Thu, 04 Jan 2024 18:05:25 GMT"), None),
            (Some("-1"), None, None),
            (None, None, None),
        ];
        for (wait, date, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [(RETRY_AFTER, wait), (DATE, date)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(
                retry_after(&headers).map(|d| d.as_secs()),
                expected,
                "{wait:?} at {date:?}"
            );
        }
    }
}
