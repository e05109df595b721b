//! The platforms' limiter: a strict sliding log, one for each quota.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::config::QuotaConfig;

/// A request that would have been one too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// How long until the quota takes a request again.
    pub(crate) wait: Duration,
}

/// What the headers say about the longest window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Whole seconds until the oldest request leaves the window.
    pub(crate) reset_seconds: u64,
}

/// What one quota has seen since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuotaStats {
    /// As configured.
    pub name: String,
    /// Requests allowed in any window.
    pub limit: u32,
    /// Length of the window in milliseconds.
    pub window_ms: u64,
    /// Requests taken in all.
    pub taken: u64,
    /// The most requests taken in any window of that length, wherever it starts.
    pub most_in_a_window: u32,
    /// Requests answered 429 because of this quota.
    pub refused: u64,
    /// Requests taken, as a share of what the quota allowed since the start.
    pub utilisation: f64,
}

/// The requests that one quota took within the window `(now - window, now]`.
#[derive(Debug)]
struct SlidingLog {
    config: QuotaConfig,
    log: VecDeque<Instant>,
    taken: u64,
    most: u32,
    refused: u64,
    started: Instant,
}

impl SlidingLog {
    fn new(config: QuotaConfig, started: Instant) -> Self {
        Self { config, log: VecDeque::new(), taken: 0, most: 0, refused: 0, started }
    }

    fn window(&self) -> Duration {
        Duration::from_millis(self.config.window_ms)
    }

    fn covers(&self, template: &str) -> bool {
        self.config.templates.is_empty() || self.config.templates.iter().any(|t| t == template)
    }

    fn held(&self) -> u32 {
        u32::try_from(self.log.len()).unwrap_or(u32::MAX)
    }

    /// How long until one more fits; `None` when it fits now.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        let window = self.window();
        // The window is open at its start: what came exactly one window ago counts no more.
        while self.log.front().is_some_and(|at| *at + window <= now) {
            self.log.pop_front();
        }
        if self.held() < self.config.limit {
            return None;
        }
        Some(self.log.front().map_or(window, |oldest| *oldest + window - now))
    }

    fn take(&mut self, now: Instant) {
        self.log.push_back(now);
        self.taken += 1;
        // Some fullest window ends at a request, so looking at each request finds it.
        self.most = self.most.max(self.held());
    }

    #[expect(clippy::cast_precision_loss, reason = "a share for people; 2^52 requests are enough")]
    fn stats(&self, now: Instant) -> QuotaStats {
        let windows = (now - self.started).as_secs_f64() / self.window().as_secs_f64().max(1e-9);
        let allowed = f64::from(self.config.limit) * windows.max(1.0);
        QuotaStats {
            name: self.config.name.clone(),
            limit: self.config.limit,
            window_ms: self.config.window_ms,
            taken: self.taken,
            most_in_a_window: self.most,
            refused: self.refused,
            utilisation: self.taken as f64 / allowed.max(1.0),
        }
    }
}

/// All quotas of one account.
#[derive(Debug)]
pub(crate) struct Limiter {
    quotas: Vec<SlidingLog>,
}

impl Limiter {
    pub(crate) fn new(quotas: &[QuotaConfig], started: Instant) -> Self {
        let quotas = quotas.iter().map(|quota| SlidingLog::new(quota.clone(), started)).collect();
        Self { quotas }
    }

    /// Takes the request from every quota that covers `template`, or from none.
    ///
    /// `now` must not run backwards from call to call.
    pub(crate) fn admit(&mut self, template: &str, now: Instant) -> Result<(), Refusal> {
        let mut longest = None;
        for quota in self.quotas.iter_mut().filter(|quota| quota.covers(template)) {
            if let Some(wait) = quota.wait(now) {
                quota.refused += 1;
                longest = longest.max(Some(wait));
            }
        }
        if let Some(wait) = longest {
            return Err(Refusal { wait });
        }
        for quota in self.quotas.iter_mut().filter(|quota| quota.covers(template)) {
            quota.take(now);
        }
        Ok(())
    }

    /// The longest window that covers `template`, which is the one that headers describe.
    pub(crate) fn standing(&self, template: &str, now: Instant) -> Option<Standing> {
        let quotas = self.quotas.iter().filter(|quota| quota.covers(template));
        let steady = quotas.max_by_key(|quota| quota.config.window_ms)?;
        let reset = steady
            .log
            .front()
            .map_or(Duration::ZERO, |at| (*at + steady.window()).saturating_duration_since(now));
        Some(Standing {
            limit: steady.config.limit,
            remaining: steady.config.limit.saturating_sub(steady.held()),
            reset_seconds: seconds_up(reset),
        })
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
        QuotaConfig { name: "any".into(), limit, window_ms, templates: vec![] }
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
            let mut limiter = Limiter::new(&quotas, start);
            let (mut now, mut taken) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                let fits = limits.iter().all(|(limit, window)| {
                    within(&taken, now, *window) < usize::try_from(*limit).unwrap()
                });
                let answer = limiter.admit("/x", start + Duration::from_millis(now));
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
        let mut limiter = Limiter::new(&[quota(1, 1_000)], start);
        assert_eq!(limiter.admit("/x", start), Ok(()));
        let soon = start + Duration::from_millis(400);
        let refusal = Refusal { wait: Duration::from_millis(600) };
        assert_eq!(limiter.admit("/x", soon), Err(refusal));
        assert_eq!(limiter.admit("/x", start + Duration::from_secs(1)), Ok(()));
        let stats = limiter.stats(start + Duration::from_secs(1));
        assert_eq!(stats[0].taken, 2);
        assert_eq!(stats[0].refused, 1);
        assert_eq!(stats[0].most_in_a_window, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_counts_only_the_paths_that_it_covers() {
        let start = Instant::now();
        let narrow = QuotaConfig { templates: vec!["/narrow".into()], ..quota(1, 1_000) };
        let mut limiter = Limiter::new(&[narrow], start);
        assert_eq!(limiter.admit("/narrow", start), Ok(()));
        assert_eq!(limiter.admit("/wide", start), Ok(()));
        assert!(limiter.admit("/narrow", start).is_err());
    }
}
