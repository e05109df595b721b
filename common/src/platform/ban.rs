//! What platforms block an address for.

use std::time::Duration;

/// So many failures in any window of this length get the address blocked that they come from, for
/// all connections of the platform and whoever else is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorBudget {
    /// Failures per window, at least 1.
    pub limit: u32,
    /// Length of the window.
    pub window: Duration,
}
