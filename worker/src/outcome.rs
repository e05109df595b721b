//! What becomes of a job when its platform failed it. The only place that decides it.

use std::time::Duration;

use common::platform::PlatformError;
use common::queue::Outcome;
use common::quota::QuotaError;
use common::retry::RetryPolicy;

/// What is to be done about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Settle the job like this.
    Settle(Outcome),
    /// Nothing of this connection can work until a person acts, and why.
    Park(String),
    /// No further attempt is left, and why the last one failed.
    GiveUp(String),
}

/// After a lane was parked, its jobs come back this late; it is paused anyway.
const PARKED_FOR: Duration = Duration::from_mins(1);
/// For a permit. A ledger that is closed after a loss says that its whole window has to pass, and is
/// opened sooner; until there is quota, the job is not claimed again in any case.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// After a store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// - `attempt`: counted from 1.
/// - `chance`: in `[0, 1)`, for the jitter.
pub fn after(error: &PlatformError, attempt: u32, retry: &RetryPolicy, chance: f64) -> Then {
    // On top of what the platform asked for: else all that failed together would come back together.
    let try_again = |at_least: Duration| match retry.delay(attempt, chance) {
        Some(delay) => Then::Settle(Outcome::Nack { after: at_least.saturating_add(delay) }),
        None => Then::GiveUp(error.to_string()),
    };
    match error {
        // The lane is frozen; a delay on top of it would only add a herd at its end.
        PlatformError::Throttled { .. } => Then::Settle(Outcome::Defer { after: Duration::ZERO }),
        PlatformError::NoPermit(QuotaError::After(wait)) => {
            Then::Settle(Outcome::Defer { after: (*wait).min(LONGEST_WAIT) })
        }
        PlatformError::NoPermit(QuotaError::Unreachable(_)) => {
            Then::Settle(Outcome::Defer { after: STORE_PAUSE })
        }
        // No fault of the job: no attempt used.
        PlatformError::NoToken { retry_after, .. } => {
            Then::Settle(Outcome::Defer { after: *retry_after })
        }
        PlatformError::Unauthorized { .. } | PlatformError::Retired { .. } => {
            Then::Park(error.to_string())
        }
        PlatformError::Transient { retry_after, .. } => try_again(retry_after.unwrap_or_default()),
        PlatformError::Unexpected { .. } | PlatformError::CursorLost => try_again(Duration::ZERO),
    }
}

/// Nothing could be concluded about one record, for `reason`: try again like after a failure.
pub fn unclear(reason: &str, attempt: u32, retry: &RetryPolicy, chance: f64) -> Then {
    match retry.delay(attempt, chance) {
        Some(after) => Then::Settle(Outcome::Nack { after }),
        None => Then::GiveUp(reason.to_owned()),
    }
}

/// One of our own stores failed: no fault of the job, and no attempt used.
pub const fn store_failed() -> Outcome {
    Outcome::Defer { after: STORE_PAUSE }
}

/// How the jobs of a parked connection are handed back.
pub const fn parked() -> Outcome {
    Outcome::Defer { after: PARKED_FOR }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_leads_to_one_outcome() {
        let retry = RetryPolicy {
            base: Duration::from_secs(1),
            cap: Duration::from_mins(15),
            max_attempts: 3,
        };
        let transient = |retry_after| PlatformError::Transient { what: String::new(), retry_after };
        let defer = |after| Then::Settle(Outcome::Defer { after });
        let nack = |after| Then::Settle(Outcome::Nack { after });
        let second = Duration::from_secs(1);
        let cases = [
            (PlatformError::Throttled { retry_after: second }, 1, defer(Duration::ZERO)),
            (PlatformError::NoPermit(QuotaError::After(second)), 1, defer(second)),
            (PlatformError::NoPermit(QuotaError::After(second * 86_400)), 1, defer(second * 60)),
            (PlatformError::NoToken { what: String::new(), retry_after: second }, 9, defer(second)),
            (transient(Some(second * 60)), 1, nack(second * 60)),
        ];
        for (error, attempt, expected) in cases {
            assert_eq!(after(&error, attempt, &retry, 0.0), expected, "{error}");
        }
        let spread = after(&transient(Some(second * 60)), 1, &retry, 0.5);
        assert_eq!(spread, nack(second * 60 + second / 2), "no herd at the end of the minute");
        for final_word in [
            PlatformError::Unauthorized { reason: "x".to_owned() },
            PlatformError::Retired { reason: "x".to_owned() },
        ] {
            assert_eq!(after(&final_word, 1, &retry, 0.0), Then::Park(final_word.to_string()));
        }
        for last in [transient(None), PlatformError::Unexpected { what: String::new() }] {
            assert_eq!(after(&last, 3, &retry, 0.0), Then::GiveUp(last.to_string()));
        }
        assert!(matches!(
            after(&transient(None), 1, &retry, 0.5),
            Then::Settle(Outcome::Nack { after }) if after > Duration::ZERO
        ));
    }
}
