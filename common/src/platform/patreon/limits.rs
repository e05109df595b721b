//! What Patreon allows.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::job::PROBE;
use crate::platform::ErrorBudget;
use crate::platform::answer::{Answer, pause, retry_after};
use crate::platform::patreon::records::KINDS;
use crate::quota::{KindLimits, LaneLimits, Quota, RateSignal};

/// How long a refusal lasts that does not say: the longer of the two windows.
const PAUSE: Duration = Duration::from_mins(1);

/// The quota of an OAuth client.
pub(super) const CLIENT: &str = "client";
/// So many answers of any 4xx in ten minutes get a client blocked at the edge, by two sources that
/// cite its documents. Missing records count, so looks at what is gone do.
pub(super) const BAN: ErrorBudget = ErrorBudget { limit: 2_000, window: Duration::from_mins(10) };

pub(super) fn counts_to_ban(status: StatusCode, _headers: &HeaderMap) -> bool {
    status.is_client_error()
}

/// 100 a minute for a token and 100 in two seconds for a client; every request draws on both.
///
/// Both are kept for each connection. Connections that share a client share its limit at Patreon:
/// give each its part by configuration. A fresh token does not start a fresh minute, and neither
/// does it here: quotas belong to the connection.
pub(super) fn defaults() -> LaneLimits {
    let kind = |batch| KindLimits { batch, cost: 1, quotas: vec![0, 1] };
    let checks = KINDS.iter().map(|record| (record.name.to_owned(), kind(record.batch)));
    let scans = KINDS.iter().map(|record| (format!("scan@{}", record.name), kind(1)));
    LaneLimits {
        quotas: vec![
            Quota::new("token", 100, Duration::from_mins(1)),
            Quota::new(CLIENT, 100, Duration::from_secs(2)),
        ],
        kinds: checks.chain(scans).chain([(PROBE.to_owned(), kind(1))]).collect(),
    }
}

/// No header tells how much is left; any 429 may have `Retry-After`.
pub(super) fn signal(status: StatusCode, headers: &HeaderMap) -> RateSignal {
    RateSignal {
        refused_for: (status == StatusCode::TOO_MANY_REQUESTS)
            .then(|| retry_after(headers).unwrap_or(PAUSE)),
        ..RateSignal::default()
    }
}

/// The body of a 429 may say `retry_after_seconds`. The longer of body and header counts.
pub(super) fn body_signal(answer: &Answer, signal: &mut RateSignal) {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        retry_after_seconds: Option<f64>,
    }

    if answer.status != StatusCode::TOO_MANY_REQUESTS {
        return;
    }
    let errors = answer.json::<Body>().map(|body| body.errors).unwrap_or_default();
    let said = errors.into_iter().filter_map(|error| pause(error.retry_after_seconds?));
    if let Some(wait) = said.chain(retry_after(&answer.headers)).max() {
        signal.refused_for = Some(wait);
    }
}
