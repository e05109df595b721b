//! The network in front of a platform, which shuts out callers whose requests fail too often.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::config::EdgeConfig;
use crate::limit::seconds_up;

/// What the edge of one account remembers of its caller.
#[derive(Debug)]
pub(crate) struct Edge {
    config: Option<EdgeConfig>,
    failures: VecDeque<Instant>,
    blocked_until: Option<Instant>,
}

impl Edge {
    pub(crate) fn new(config: Option<EdgeConfig>) -> Self {
        Self { config, failures: VecDeque::new(), blocked_until: None }
    }

    /// How long the caller is still shut out; `None` when it is not.
    pub(crate) fn blocked(&self, now: Instant) -> Option<Duration> {
        let left = self.blocked_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts an answer that the platform gave.
    pub(crate) fn count(&mut self, status: StatusCode, now: Instant) {
        let Some(config) = &self.config else { return };
        let counts = if config.statuses.is_empty() {
            status.is_client_error()
        } else {
            config.statuses.contains(&status.as_u16())
        };
        if !counts {
            return;
        }
        let window = Duration::from_millis(config.window_ms);
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|at| *at + window <= now) {
            self.failures.pop_front();
        }
        if u32::try_from(self.failures.len()).unwrap_or(u32::MAX) >= config.limit {
            self.failures.clear();
            self.blocked_until = Some(now + Duration::from_millis(config.block_ms));
        }
    }
}

/// A page for people, not JSON, as the network puts it in the platform's place.
pub(crate) fn block(wait: Duration) -> Answer {
    let page = "<!DOCTYPE html>\n<html><head><title>Access denied | Error 1015</title></head>\
        <body><h1>Error 1015</h1><p>You are being rate limited.</p></body></html>\n";
    let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, Value::Null);
    Answer { page: Some(page), ..answer }.header("retry-after", &seconds_up(wait).max(1))
}
