//! What waits in the queue: a job is its record.

mod priority;
mod task;

pub use priority::Priority;
pub use task::{InvalidJobId, JobId, PROBE, Task};

use crate::ids::Lane;

/// One thing to do, as the queue takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Whose quota it uses.
    pub lane: Lane,
    /// What to do; its id inside the lane follows from it.
    pub task: Task,
    /// How urgent it is.
    pub priority: Priority,
    /// The W3C `traceparent` of the span that asked for it, or empty.
    pub trace: String,
}
