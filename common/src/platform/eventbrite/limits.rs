//! What Eventbrite allows.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::platform::answer::retry_after;
use crate::platform::eventbrite::records::KINDS;
use crate::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};

/// How long a refusal lasts that does not say, and none is documented to. Whether the hour slides
/// or starts on the clock is not said either: after a minute one request tells more than an hour
/// of silence, and costs one.
const PAUSE: Duration = Duration::from_mins(1);

/// 1,000 an hour: half of what the official text gives one token, since other programs of the
/// same customer may use it too. The daily limit that older texts name (48,000) is more than a
/// day of these; it can be added by configuration.
pub(super) fn defaults() -> LaneLimits {
    let kind = |batch| KindLimits { batch, cost: 1, quotas: vec![0] };
    let checks = KINDS.iter().map(|record| (record.name.to_owned(), kind(record.batch)));
    let scans = KINDS.iter().map(|record| (format!("scan@{}", record.name), kind(1)));
    LaneLimits {
        quotas: vec![Quota::new("hour", 1000, Duration::from_hours(1))],
        kinds: checks.chain(scans).collect(),
    }
}

/// No header about limits is documented but `Retry-After`, which any 429 may have.
pub(super) fn signal(status: StatusCode, headers: &HeaderMap) -> RateSignal {
    RateSignal {
        remaining: None,
        refused_for: (status == StatusCode::TOO_MANY_REQUESTS)
            .then(|| retry_after(headers).unwrap_or(PAUSE)),
        scope: RateScope::Lane,
    }
}
