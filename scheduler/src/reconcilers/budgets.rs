//! Ends the alerts of error budgets that have recovered.

use common::fleet::Fleet;

use crate::Reconcile;

/// See the module.
#[derive(Debug)]
pub struct Budgets {
    fleet: Fleet,
}

impl Budgets {
    /// The lanes go on by themselves; here only the alert is ended.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

impl Reconcile for Budgets {
    const NAME: &'static str = "error budgets";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        Ok(self.fleet.clear_recovered_budgets().await?)
    }
}
