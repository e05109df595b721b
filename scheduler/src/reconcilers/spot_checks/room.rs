//! How many requests are left over for spot checks. Pure.

use std::time::Duration;

use common::queue::Depths;
use common::quota::{Floors, LaneLimits};

/// Spot checks of one lane that wait at the most.
pub(super) const MOST_WAITING: f64 = 2_000.0;

/// Requests that a kind could send within the horizon if nothing else did.
pub(super) fn requests_within(limits: &LaneLimits, kind: &str, horizon: Duration) -> f64 {
    limits
        .drawn_on(kind)
        .map(|quota| {
            let windows = horizon.as_secs_f64() / quota.window.as_secs_f64();
            f64::from(quota.limit) * windows
        })
        .fold(f64::INFINITY, f64::min)
}

/// Of `requests`, those that are left after all that is more urgent and waits.
///
/// - `floors`: of the queue; so much spot checks get beside whatever is more urgent.
pub(super) fn left_over(requests: f64, depths: &Depths, floors: Floors) -> f64 {
    let [webhook, manual, bulk, _] = depths.ready;
    #[expect(clippy::cast_precision_loss, reason = "a rough number")]
    let urgent = (webhook + manual + bulk) as f64;
    (requests - urgent).max(f64::from(floors.spot_checks) / 100.0 * requests)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::quota::{KindLimits, Quota};

    use super::*;

    #[test]
    fn what_is_more_urgent_comes_first_and_the_floor_stays() {
        let kind = KindLimits { batch: 1, cost: 1, quotas: vec![0] };
        let limits = LaneLimits {
            quotas: vec![Quota::new("a", 100, Duration::from_mins(1))],
            kinds: BTreeMap::from([("member".to_owned(), kind)]),
        };
        let requests = requests_within(&limits, "member", Duration::from_secs(30));
        assert!((requests - 50.0).abs() < 1e-9);
        for (webhooks, left) in [(0, 50.0), (20, 30.0), (49, 2.5), (10_000, 2.5)] {
            let depths = Depths { ready: [webhooks, 0, 0, 7], ..Depths::default() };
            let floors = Floors::default();
            assert!((left_over(requests, &depths, floors) - left).abs() < 1e-9, "{webhooks}");
        }
        let none = Floors { spot_checks: 0, ..Floors::default() };
        let depths = Depths { ready: [50, 0, 0, 7], ..Depths::default() };
        assert!(left_over(requests, &depths, none).abs() < 1e-9, "nothing is kept for them");
    }
}
