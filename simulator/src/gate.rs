//! A gate that holds finished answers back, so that a test can act while a fetch is under way.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::record::Platform;

/// Whose answers are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRule {
    /// At which platform.
    pub platform: Platform,
    /// How their paths begin, `/v3` included for Eventbrite.
    pub prefix: String,
    /// How many answers are held, those after them pass; all when absent.
    #[serde(default)]
    pub hold: Option<u64>,
}

/// The gate at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GateState {
    /// Absent while it stands open.
    pub rule: Option<GateRule>,
    /// Answers that wait in front of it.
    pub held: u64,
    /// How often it has been opened; an answer that was held once is not held again.
    pub openings: u64,
}

/// One gate for both platforms.
#[derive(Debug, Default)]
pub(crate) struct Gate(watch::Sender<GateState>);

impl Gate {
    /// Shuts it for answers that the rule names; those held by an earlier rule go on.
    pub(crate) fn shut(&self, rule: GateRule) {
        self.0.send_modify(|state| {
            state.openings += 1;
            state.rule = Some(rule);
        });
    }

    /// Lets everybody go on.
    pub(crate) fn open(&self) {
        self.0.send_modify(|state| {
            state.openings += 1;
            state.rule = None;
        });
    }

    pub(crate) fn state(&self) -> GateState {
        self.0.borrow().clone()
    }

    /// Waits until `count` answers are held; false when `limit` is over first.
    pub(crate) async fn wait_until_held(&self, count: u64, limit: Duration) -> bool {
        let mut state = self.0.subscribe();
        let held = state.wait_for(|state| state.held >= count);
        matches!(timeout(limit, held).await, Ok(Ok(_)))
    }

    /// Holds the caller while the gate is shut for it.
    pub(crate) async fn pass(&self, platform: Platform, path: &str) {
        let mut held_since = None;
        self.0.send_if_modified(|state| {
            let Some(rule) = &mut state.rule else { return false };
            if rule.platform != platform || !path.starts_with(&rule.prefix) || rule.hold == Some(0)
            {
                return false;
            }
            rule.hold = rule.hold.map(|left| left - 1);
            state.held += 1;
            held_since = Some(state.openings);
            true
        });
        let Some(openings) = held_since else { return };
        // Also gives the place back when the caller hangs up and this future is dropped.
        let _place = Place(self);
        // The sender lives in self, so waiting cannot fail.
        drop(self.0.subscribe().wait_for(|state| state.openings > openings).await);
    }
}

struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.held = state.held.saturating_sub(1));
    }
}
