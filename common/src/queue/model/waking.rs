//! When the model is next worth a claim.

use super::Model;

impl Model {
    /// When a claim may next get something: `now` where it would get something now. `None` where
    /// nothing waits, or a person holds it.
    pub fn next_claim(&self, now: u64) -> Option<u64> {
        if self.paused {
            return None;
        }
        let mut tried = self.clone();
        if tried.claim(1, now).is_empty() { tried.next_change(now) } else { Some(now) }
    }
}
