//! How long things may take, and how grants are shared.

use std::time::Duration;

use crate::quota::Floors;

/// How long things may take.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// The right to work on a job ends after this, unless extended.
    pub lease: Duration,
    /// A permit that is not used within this time is not used.
    pub permit_use_by: Duration,
    /// The longest time from sending a request to having its answer or giving it up.
    pub request_timeout: Duration,
    /// What nothing more urgent takes away.
    pub floors: Floors,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_mins(1),
            permit_use_by: Duration::from_secs(2),
            request_timeout: Duration::from_secs(30),
            floors: Floors::default(),
        }
    }
}
