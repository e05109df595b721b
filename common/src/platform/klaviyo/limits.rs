//! What Klaviyo allows.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::platform::answer::retry_after;
use crate::platform::klaviyo::profile;
use crate::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};

/// The window of the steady limit, and how long a refusal lasts that does not say.
const STEADY: Duration = Duration::from_mins(1);

/// 75 a second and 500 a minute. Klaviyo documents 700 and 750 a minute for profiles, in
/// different places, and lower ones for smaller accounts: 500 is below what both say.
pub(super) fn defaults() -> LaneLimits {
    let kind = |batch| KindLimits { batch, cost: 1, quotas: vec![0, 1] };
    LaneLimits {
        quotas: vec![
            Quota::new("burst", 75, Duration::from_secs(1)),
            Quota::new("steady", 500, STEADY),
        ],
        kinds: BTreeMap::from([
            (profile::KIND.name.to_owned(), kind(profile::KIND.batch)),
            (format!("scan@{}", profile::KIND.name), kind(1)),
        ]),
    }
}

/// `RateLimit-Remaining` and `RateLimit-Reset` (seconds) describe the steady window. A 429 has
/// neither, only `Retry-After`.
pub(super) fn signal(status: StatusCode, headers: &HeaderMap) -> RateSignal {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
    let remaining = number("ratelimit-remaining").zip(number("ratelimit-reset"));
    RateSignal {
        remaining: remaining
            .map(|(left, reset)| (left, Duration::from_secs(reset.into()).min(STEADY))),
        refused_for: (status == StatusCode::TOO_MANY_REQUESTS)
            .then(|| retry_after(headers).unwrap_or(STEADY)),
        scope: RateScope::Lane,
    }
}
