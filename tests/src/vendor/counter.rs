//! How a platform counts: an exact log of requests, or windows of its own clock.

use std::collections::VecDeque;
use std::time::Duration;

use common::quota::Quota;
use serde::{Deserialize, Serialize};

/// What a platform calls a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Any span of the window's length: the strictest there is.
    SlidingLog,
    /// Spans that follow each other, the first from when the platform was started.
    FixedWindows,
}

impl Rule {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlidingLog => "sliding log",
            Self::FixedWindows => "fixed windows",
        }
    }

    /// The earliest instant that still counts at `now_us`.
    fn counts_from(self, now_us: u64, window_us: u64) -> u64 {
        match self {
            // (now - T, now]: what arrived exactly one window ago is outside.
            Self::SlidingLog => (now_us + 1).saturating_sub(window_us),
            Self::FixedWindows => now_us - now_us % window_us,
        }
    }
}

/// The requests of one window, by their arrival in microseconds.
#[derive(Debug)]
struct Window {
    limit: usize,
    length_us: u64,
    arrivals: VecDeque<u64>,
}

impl Window {
    fn of(quota: &Quota) -> Self {
        let length_us = u64::try_from(quota.window.as_micros()).unwrap_or(u64::MAX).max(1);
        let limit = usize::try_from(quota.limit).unwrap_or(usize::MAX);
        Self { limit, length_us, arrivals: VecDeque::new() }
    }

    fn forget(&mut self, rule: Rule, now_us: u64) {
        let from = rule.counts_from(now_us, self.length_us);
        while self.arrivals.front().is_some_and(|&arrived| arrived < from) {
            self.arrivals.pop_front();
        }
    }
}

/// Counts requests against all quotas of an account by one rule. A request that any of them
/// refuses counts in none.
#[derive(Debug)]
pub struct Counter {
    rule: Rule,
    windows: Vec<Window>,
    refused: u32,
}

impl Counter {
    /// Nothing has arrived yet.
    pub fn new(rule: Rule, quotas: &[Quota]) -> Self {
        Self { rule, windows: quotas.iter().map(Window::of).collect(), refused: 0 }
    }

    /// A request arrives, `now_us` after the platform was started; `true` when it is taken.
    pub fn arrive(&mut self, now_us: u64) -> bool {
        for window in &mut self.windows {
            window.forget(self.rule, now_us);
        }
        if self.windows.iter().any(|window| window.arrivals.len() >= window.limit) {
            self.refused += 1;
            return false;
        }
        for window in &mut self.windows {
            window.arrivals.push_back(now_us);
        }
        true
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// What is left in the longest window, and until when that holds.
    pub fn remaining(&self, now_us: u64) -> Option<(u32, Duration)> {
        let longest = self.windows.iter().max_by_key(|window| window.length_us)?;
        let left = longest.limit.saturating_sub(longest.arrivals.len());
        let from = self.rule.counts_from(now_us, longest.length_us);
        let reset_at = match self.rule {
            Rule::SlidingLog => longest.arrivals.front().unwrap_or(&now_us) + longest.length_us,
            Rule::FixedWindows => from + longest.length_us,
        };
        let reset_after = Duration::from_micros(reset_at.saturating_sub(now_us));
        Some((u32::try_from(left).unwrap_or(u32::MAX), reset_after))
    }
}

/// The most requests, taken or refused, that any window of a quota has seen.
#[derive(Debug)]
pub struct Peak {
    window: Window,
    most: usize,
}

impl Peak {
    /// Nothing has arrived yet.
    pub fn new(quota: &Quota) -> Self {
        Self { window: Window::of(quota), most: 0 }
    }

    /// A request arrives.
    pub fn arrive(&mut self, now_us: u64) {
        self.window.forget(Rule::SlidingLog, now_us);
        self.window.arrivals.push_back(now_us);
        self.most = self.most.max(self.window.arrivals.len());
    }

    /// The most so far.
    pub fn most(&self) -> u32 {
        u32::try_from(self.most).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn refused(rule: Rule, quotas: &[Quota], arrivals: &[u64]) -> Vec<usize> {
        let mut counter = Counter::new(rule, quotas);
        let taken: Vec<bool> = arrivals.iter().map(|&at| counter.arrive(at)).collect();
        (0..arrivals.len()).filter(|&i| !taken[i]).collect()
    }

    fn two_a_second() -> Quota {
        Quota::new("q", 2, Duration::from_secs(1))
    }

    #[test]
    fn the_sliding_log_refuses_what_is_one_too_many_in_any_window() {
        let arrivals = [0, 900_000, 999_999, SECOND, SECOND + 1, 1_899_999, 1_900_000];
        assert_eq!(refused(Rule::SlidingLog, &[two_a_second()], &arrivals), [2, 4, 5]);
    }

    #[test]
    fn fixed_windows_take_twice_the_limit_around_an_edge() {
        let arrivals = [900_000, 950_000, 999_999, SECOND, SECOND + 1, SECOND + 2];
        assert_eq!(refused(Rule::FixedWindows, &[two_a_second()], &arrivals), [2, 5]);
        let mut peak = Peak::new(&two_a_second());
        for at in arrivals {
            peak.arrive(at);
        }
        assert_eq!(peak.most(), 6);
    }

    #[test]
    fn what_one_quota_refuses_counts_in_none() {
        let minute = Quota::new("minute", 3, Duration::from_mins(1));
        let arrivals = [0, 1, 2, SECOND, SECOND + 1];
        assert_eq!(refused(Rule::SlidingLog, &[two_a_second(), minute], &arrivals), [2, 4]);
    }

    #[test]
    fn it_tells_what_is_left_in_the_longest_window() {
        for (rule, reset_us) in [(Rule::SlidingLog, 900_000), (Rule::FixedWindows, 400_000)] {
            let mut counter = Counter::new(rule, &[two_a_second()]);
            counter.arrive(SECOND / 2);
            let told = counter.remaining(SECOND * 6 / 10);
            assert_eq!(told, Some((1, Duration::from_micros(reset_us))), "{rule:?}");
        }
    }
}
