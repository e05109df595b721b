//! The platforms' limiter: a strict log for each quota, or fixed windows.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::config::{QuotaConfig, QuotaScope, Windows};
use crate::quota::{Counted, Quota, QuotaStats, Standing};

/// A request that would have been one too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// How long until the quota takes a request again.
    pub(crate) wait: Duration,
    /// Whose quota it was: the one with the longest wait.
    pub(crate) scope: QuotaScope,
}

/// All quotas of one account.
#[derive(Debug)]
pub(crate) struct Limiter {
    quotas: Vec<Quota>,
}

impl Limiter {
    /// `started` and `wall` are the same moment; fixed windows begin at whole multiples of their
    /// length since the epoch of the latter.
    pub(crate) fn new(
        quotas: &[QuotaConfig],
        windows: Windows,
        started: Instant,
        wall: Timestamp,
    ) -> Self {
        let epoch = Duration::try_from(wall.duration_since(Timestamp::UNIX_EPOCH));
        let epoch = epoch.unwrap_or_default();
        let quota = |config| Quota::new(config, windows, started, epoch);
        Self { quotas: quotas.iter().map(quota).collect() }
    }

    /// Takes the request from every quota that covers it, or from none.
    ///
    /// `now` must not run backwards from call to call.
    pub(crate) fn admit(&mut self, counted: Counted<'_>, now: Instant) -> Result<(), Refusal> {
        let mut longest: Option<Refusal> = None;
        for quota in self.quotas.iter_mut().filter(|quota| quota.covers(counted)) {
            let Standing { remaining: 0, reset, .. } = quota.standing(counted, now) else {
                continue;
            };
            quota.refused += 1;
            if longest.as_ref().is_none_or(|refusal| refusal.wait < reset) {
                longest = Some(Refusal { wait: reset, scope: quota.config.scope });
            }
        }
        if let Some(refusal) = longest {
            return Err(refusal);
        }
        for quota in self.quotas.iter_mut().filter(|quota| quota.covers(counted)) {
            quota.take(counted, now);
        }
        Ok(())
    }

    /// The longest window that covers the request, of those that are shared so (of all when
    /// `scope` is absent).
    pub(crate) fn standing(
        &mut self,
        counted: Counted<'_>,
        scope: Option<QuotaScope>,
        now: Instant,
    ) -> Option<Standing> {
        let quotas = self.quotas.iter_mut().filter(|quota| quota.covers(counted));
        let shared_so = quotas.filter(|quota| scope.is_none_or(|one| one == quota.config.scope));
        let longest = shared_so.max_by_key(|quota| quota.config.window_ms)?;
        Some(longest.standing(counted, now))
    }

    pub(crate) fn stats(&self, now: Instant) -> Vec<QuotaStats> {
        self.quotas.iter().map(|quota| quota.stats(now)).collect()
    }
}

/// Whole seconds, rounded up.
pub(crate) fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(limit: u32, window_ms: u64) -> QuotaConfig {
        QuotaConfig::new("any", limit, window_ms)
    }

    fn to(template: &str) -> Counted<'_> {
        Counted { template, resource: "" }
    }

    fn sliding(quotas: &[QuotaConfig], start: Instant) -> Limiter {
        Limiter::new(quotas, Windows::Sliding, start, Timestamp::UNIX_EPOCH)
    }

    /// Requests among `taken` in the window `(now - window, now]`, counted over the whole log.
    fn within(taken: &[u64], now: u64, window: u64) -> usize {
        taken.iter().filter(|at| **at <= now && **at + window > now).count()
    }

    proptest! {
        #[test]
        fn admits_exactly_what_a_count_over_the_whole_log_allows(
            limits in prop::collection::vec((1_u32..6, 1_u64..40), 1..4),
            gaps in prop::collection::vec(0_u64..15, 1..120),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _guard = runtime.enter();
            let start = Instant::now();
            let quotas: Vec<_> = limits.iter().map(|(limit, ms)| quota(*limit, *ms)).collect();
            let mut limiter = sliding(&quotas, start);
            let (mut now, mut taken) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                let fits = limits.iter().all(|(limit, window)| {
                    within(&taken, now, *window) < usize::try_from(*limit).unwrap()
                });
                let answer = limiter.admit(to("/x"), start + Duration::from_millis(now));
                prop_assert_eq!(answer.is_ok(), fits);
                if answer.is_ok() {
                    taken.push(now);
                }
            }
            let stats = limiter.stats(start + Duration::from_millis(now));
            for (stat, (_, window)) in stats.iter().zip(&limits) {
                let most = taken.iter().map(|end| within(&taken, *end, *window)).max().unwrap_or(0);
                prop_assert_eq!(usize::try_from(stat.most_in_a_window).unwrap(), most);
                prop_assert_eq!(stat.taken, u64::try_from(taken.len()).unwrap());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_request_takes_no_place_and_says_how_long_to_wait() {
        let start = Instant::now();
        let mut limiter = sliding(&[quota(1, 1_000)], start);
        assert_eq!(limiter.admit(to("/x"), start), Ok(()));
        let soon = start + Duration::from_millis(400);
        let refusal = Refusal { wait: Duration::from_millis(600), scope: QuotaScope::Account };
        assert_eq!(limiter.admit(to("/x"), soon), Err(refusal));
        assert_eq!(limiter.admit(to("/x"), start + Duration::from_secs(1)), Ok(()));
        let stats = limiter.stats(start + Duration::from_secs(1));
        assert_eq!(stats[0].taken, 2);
        assert_eq!(stats[0].refused, 1);
        assert_eq!(stats[0].most_in_a_window, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_counts_only_the_paths_that_it_covers() {
        let start = Instant::now();
        let narrow = QuotaConfig { templates: vec!["/narrow".into()], ..quota(1, 1_000) };
        let mut limiter = sliding(&[narrow], start);
        assert_eq!(limiter.admit(to("/narrow"), start), Ok(()));
        assert_eq!(limiter.admit(to("/wide"), start), Ok(()));
        assert!(limiter.admit(to("/narrow"), start).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_of_routes_counts_each_endpoint_and_resource_by_itself() {
        let start = Instant::now();
        let config = quota(1, 1_000).per(QuotaScope::Route, &[]);
        let mut limiter = sliding(&[config], start);
        for (template, resource, fits) in
            [("/x", "1", true), ("/x", "2", true), ("/y", "1", true), ("/x", "1", false)]
        {
            let counted = Counted { template, resource };
            assert_eq!(limiter.admit(counted, start).is_ok(), fits, "{template} {resource}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fixed_windows_begin_at_whole_multiples_on_the_platforms_clock() {
        let start = Instant::now();
        let wall = Timestamp::from_millisecond(10_700).unwrap();
        let mut limiter = Limiter::new(&[quota(2, 1_000)], Windows::Fixed, start, wall);
        let mut fits = Vec::new();
        for ms in [0, 290, 299, 300, 310, 320] {
            fits.push(limiter.admit(to("/x"), start + Duration::from_millis(ms)));
        }
        let wait = Duration::from_millis;
        assert_eq!(
            fits,
            [
                Ok(()),
                Ok(()),
                Err(Refusal { wait: wait(1), scope: QuotaScope::Account }),
                Ok(()),
                Ok(()),
                Err(Refusal { wait: wait(980), scope: QuotaScope::Account }),
            ]
        );
        let most = limiter.stats(start + Duration::from_secs(1))[0].most_in_a_window;
        assert_eq!(
            most, 4,
            "twice the limit around the boundary, which a strict count would refuse"
        );
    }
}
