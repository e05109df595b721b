//! How long to wait before trying again.

use std::time::Duration;

use backon::ExponentialBuilder;

/// When a job that failed runs again, and when it has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The most to wait before the second attempt.
    pub base: Duration,
    /// The most to wait before any attempt.
    pub cap: Duration,
    /// Attempts in all, counting the first.
    pub max_attempts: u32,
}

impl RetryPolicy {
    /// The time to wait after `attempt` failed, or `None` when that was the last.
    ///
    /// - `attempt`: counts from 1.
    /// - `chance`: from 0 up to, but not including, 1; uniformly random.
    ///
    /// The wait is `chance` times `base * 2^(attempt - 1)`, at most `chance` times `cap`: *full
    /// jitter*, which spreads the retries of jobs that failed together over the whole time. Of the
    /// usual schemes it asks least of a server that is down.
    ///
    /// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    pub fn delay(&self, attempt: u32, chance: f64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let doublings = attempt.saturating_sub(1);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let ceiling = self.base.saturating_mul(factor).min(self.cap);
        let chance = if chance.is_nan() { 1.0 } else { chance.clamp(0.0, 1.0) };
        Some(ceiling.mul_f64(chance).min(ceiling))
    }
}

/// The pauses of a starting process between attempts to reach Redis or Postgres: from 100 ms,
/// doubling up to 5 s, with jitter, `total` in all.
pub fn connect_backoff(total: Duration) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .with_total_delay(Some(total))
        .with_jitter()
}

#[cfg(test)]
mod tests {
    use backon::BackoffBuilder;
    use proptest::prelude::*;

    use super::*;

    fn policies() -> impl Strategy<Value = RetryPolicy> {
        (1_u64..100_000, 1_u64..100_000_000, 1_u32..200).prop_map(|(base, cap, max_attempts)| {
            RetryPolicy {
                base: Duration::from_millis(base),
                cap: Duration::from_millis(cap.max(base)),
                max_attempts,
            }
        })
    }

    #[test]
    fn waits_double_up_to_the_cap_and_end_with_the_last_attempt() {
        let policy = RetryPolicy {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(10),
            max_attempts: 7,
        };
        let halves: Vec<_> = (1..=7).map(|n| policy.delay(n, 0.5)).collect();
        let secs = |s: f64| Some(Duration::from_secs_f64(s));
        assert_eq!(
            halves,
            [secs(0.5), secs(1.0), secs(2.0), secs(4.0), secs(5.0), secs(5.0), None]
        );
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(
            policy in policies(), attempt in 1_u32.., chance in 0.0..1.0_f64,
        ) {
            match policy.delay(attempt, chance) {
                None => prop_assert!(attempt >= policy.max_attempts),
                Some(wait) => {
                    prop_assert!(attempt < policy.max_attempts);
                    prop_assert!(wait <= policy.cap);
                    let unbounded = policy.base.as_secs_f64() * 2_f64.powi(
                        i32::try_from(attempt).unwrap() - 1);
                    prop_assert!(wait.as_secs_f64() <= unbounded + 1e-6);
                }
            }
        }

        #[test]
        fn more_chance_or_a_later_attempt_never_means_a_shorter_wait(
            policy in policies(), attempt in 1_u32..100, low in 0.0..1.0_f64, high in 0.0..1.0_f64,
        ) {
            let (low, high) = if low <= high { (low, high) } else { (high, low) };
            if let Some(later) = policy.delay(attempt + 1, high) {
                prop_assert!(policy.delay(attempt, low) <= policy.delay(attempt, high));
                prop_assert!(policy.delay(attempt, high) <= Some(later));
            }
        }
    }

    #[test]
    fn a_starting_process_gives_up_in_the_end() {
        let total: Duration = connect_backoff(Duration::from_mins(1)).build().take(10_000).sum();
        assert!(total >= Duration::from_secs(50), "{total:?}");
        assert!(total <= Duration::from_mins(1), "{total:?}");
    }
}
