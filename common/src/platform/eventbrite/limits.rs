//! What Eventbrite allows.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::job::PROBE;
use crate::platform::answer::{date, retry_after};
use crate::platform::eventbrite::records::KINDS;
use crate::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};

const HOUR: Duration = Duration::from_hours(1);

/// Longest refusal that does not say how long it lasts. Whether the hour slides or starts on the
/// clock is not documented, so a lane that waits for the next full hour tries on the way.
const PROBE_EVERY: Duration = Duration::from_mins(15);

/// 1,000 an hour: half of what the official text gives one token, since other programs of the
/// same customer may use it too. The daily limit that older texts name (48,000) is more than a
/// day of these; for who allows himself more an hour it can be added by configuration.
pub(super) fn defaults() -> LaneLimits {
    let kind = |batch| KindLimits { batch, cost: 1, quotas: vec![0] };
    let checks = KINDS.iter().map(|record| (record.name.to_owned(), kind(record.batch)));
    let scans = KINDS.iter().map(|record| (format!("scan@{}", record.name), kind(1)));
    LaneLimits {
        quotas: vec![Quota::new("hour", 1000, HOUR)],
        kinds: checks.chain(scans).chain([(PROBE.to_owned(), kind(1))]).collect(),
    }
}

/// No header about limits is documented. `Retry-After` and the usual `X-RateLimit-Remaining` with
/// `X-RateLimit-Reset` are believed where there are any; they can only slow us down.
pub(super) fn signal(status: StatusCode, headers: &HeaderMap) -> RateSignal {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let remaining = number("x-ratelimit-remaining").and_then(|left| u32::try_from(left).ok());
    let reset = number("x-ratelimit-reset").and_then(|reset| until(reset, headers));
    RateSignal {
        remaining: remaining.zip(reset),
        refused_for: (status == StatusCode::TOO_MANY_REQUESTS)
            .then(|| retry_after(headers).or(reset).unwrap_or_else(|| pause(headers))),
        scope: RateScope::Lane,
        ..RateSignal::default()
    }
}

/// Until when a refusal lasts that does not say: the next full hour by the clock of the answer, but
/// no longer than [`PROBE_EVERY`].
fn pause(headers: &HeaderMap) -> Duration {
    let into_the_hour = date(headers).map_or(0, |now| now.as_second().rem_euclid(3600));
    HOUR.saturating_sub(Duration::from_secs(into_the_hour.unsigned_abs())).min(PROBE_EVERY)
}

/// A reset is either seconds from now or, where that would be years, an instant in Unix time. An
/// hour at the most.
fn until(reset: i64, headers: &HeaderMap) -> Option<Duration> {
    const YEARS: i64 = 100_000_000;
    let seconds = if reset < YEARS { reset } else { reset - date(headers)?.as_second() };
    u64::try_from(seconds).ok().map(|seconds| Duration::from_secs(seconds).min(HOUR))
}
