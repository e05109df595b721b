//! One quota of a platform: how many requests each of its counts took in the window.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::config::{QuotaConfig, QuotaScope, Windows};

/// What a request is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted<'a> {
    /// The path template, behind it what makes it dearer.
    pub(crate) template: &'a str,
    /// The top-level resource, such as a guild; empty when there is none.
    pub(crate) resource: &'a str,
}

/// What the headers say about one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Until the oldest request leaves the window, or the window ends.
    pub(crate) reset: Duration,
}

/// What one quota has seen since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuotaStats {
    /// As configured.
    pub name: String,
    /// Requests allowed in a window, for each endpoint or route if the quota is theirs.
    pub limit: u32,
    /// Length of the window in milliseconds.
    pub window_ms: u64,
    /// Requests taken in all.
    pub taken: u64,
    /// The most requests of one count taken in any window of that length, wherever it starts.
    pub most_in_a_window: u32,
    /// Requests answered 429 because of this quota.
    pub refused: u64,
    /// Requests taken, as a share of what the quota allowed since the start; for a quota of
    /// endpoints or routes, of what one of them was allowed.
    pub utilisation: f64,
}

/// Counts of one quota; more are not kept apart, so that guessed ids use no memory.
const MOST_COUNTS: usize = 10_000;

/// The requests of one count within the window `(now - window, now]`, and of the fixed window.
#[derive(Debug, Default)]
struct Count {
    log: VecDeque<Instant>,
    /// Which fixed window, and how many requests it took.
    fixed: (u128, u32),
}

/// One quota with all its counts.
#[derive(Debug)]
pub(crate) struct Quota {
    pub(crate) config: QuotaConfig,
    windows: Windows,
    counts: BTreeMap<String, Count>,
    taken: u64,
    most: u32,
    pub(crate) refused: u64,
    started: Instant,
    /// How far the platform's clock was behind its epoch at the start.
    epoch: Duration,
}

impl Quota {
    /// `epoch` is how far the platform's clock was behind its epoch at `started`.
    pub(crate) fn new(
        config: &QuotaConfig,
        windows: Windows,
        started: Instant,
        epoch: Duration,
    ) -> Self {
        let (config, counts) = (config.clone(), BTreeMap::new());
        Self { config, windows, counts, taken: 0, most: 0, refused: 0, started, epoch }
    }

    fn window(&self) -> Duration {
        Duration::from_millis(self.config.window_ms.max(1))
    }

    /// Whether the request counts here.
    pub(crate) fn covers(&self, counted: Counted<'_>) -> bool {
        let templates = &self.config.templates;
        templates.is_empty() || templates.iter().any(|template| template == counted.template)
    }

    /// The number of the fixed window at `now`, and how long it still lasts.
    fn fixed_window(&self, now: Instant) -> (u128, Duration) {
        let since_epoch = (self.epoch + (now - self.started)).as_nanos();
        let window = self.window().as_nanos();
        let left = u64::try_from(window - since_epoch % window).unwrap_or(u64::MAX);
        (since_epoch / window, Duration::from_nanos(left))
    }

    /// The count that the request belongs to, with what has left the window gone from its log.
    fn count(&mut self, counted: Counted<'_>, now: Instant) -> &mut Count {
        let key = match self.config.scope {
            QuotaScope::Account => String::new(),
            QuotaScope::Endpoint => counted.template.to_owned(),
            QuotaScope::Route => format!("{} {}", counted.template, counted.resource),
        };
        let full = self.counts.len() >= MOST_COUNTS && !self.counts.contains_key(&key);
        let key = if full { String::new() } else { key };
        let (window, number) = (self.window(), self.fixed_window(now).0);
        let count = self.counts.entry(key).or_default();
        // The window is open at its start: what came exactly one window ago counts no more.
        while count.log.front().is_some_and(|at| *at + window <= now) {
            count.log.pop_front();
        }
        if count.fixed.0 != number {
            count.fixed = (number, 0);
        }
        count
    }

    /// Requests that count now, and how long until fewer do.
    pub(crate) fn standing(&mut self, counted: Counted<'_>, now: Instant) -> Standing {
        let (limit, window, windows) = (self.config.limit, self.window(), self.windows);
        let left = self.fixed_window(now).1;
        let count = self.count(counted, now);
        let (held, reset) = match windows {
            Windows::Sliding => {
                let oldest = count.log.front();
                let reset = oldest.map_or(Duration::ZERO, |at| *at + window - now);
                (u32::try_from(count.log.len()).unwrap_or(u32::MAX), reset)
            }
            Windows::Fixed => (count.fixed.1, left),
        };
        Standing { limit, remaining: limit.saturating_sub(held), reset }
    }

    /// Counts the request.
    pub(crate) fn take(&mut self, counted: Counted<'_>, now: Instant) {
        let count = self.count(counted, now);
        count.log.push_back(now);
        count.fixed.1 += 1;
        // Some fullest window ends at a request, so looking at each request finds it.
        let held = u32::try_from(count.log.len()).unwrap_or(u32::MAX);
        self.taken += 1;
        self.most = self.most.max(held);
    }

    /// What it has seen.
    #[expect(clippy::cast_precision_loss, reason = "a share for people; 2^52 requests are enough")]
    pub(crate) fn stats(&self, now: Instant) -> QuotaStats {
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
