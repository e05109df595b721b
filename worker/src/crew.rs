//! Where batches run: on the runtime, or in a simulation that lets them freeze and die.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

/// See the module.
pub trait Crew: fmt::Debug + Send + Sync {
    /// Runs `task` beside its caller, who waits for it in a way of its own.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

impl Crew for TaskTracker {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        Self::spawn(self, task);
    }
}
