//! Opening the model's lane after a loss.

use super::Model;
use crate::queue::Ledger;

impl Model {
    /// See [`crate::queue::RedisQueue::open`].
    pub fn open_with(&mut self, ledgers: &[Ledger], now: u64) {
        self.quotas.open_with(ledgers, now);
    }
}
