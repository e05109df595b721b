//! Repeated work.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span, warn};

/// Something to do every so often.
///
/// An activation takes no input but the state of the stores: it must do the right thing after a
/// restart, after a missed tick, and next to another scheduler doing the same.
pub trait Reconcile: Send + 'static {
    /// The name used in spans and logs.
    const NAME: &'static str;

    /// One pass; returns how many things it changed. Bounded: what is left comes with the next.
    fn activate(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// Activates `task` at once and then every `period`, until `stop`. A pass that has begun is ended.
pub async fn repeat<R: Reconcile>(mut task: R, period: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let span = debug_span!("reconcile", otel.name = R::NAME, changed = tracing::field::Empty);
        match task.activate().instrument(span.clone()).await {
            Ok(changed) => {
                span.record("changed", changed);
            }
            // No retry here: the next tick is the retry.
            Err(error) => warn!(reconciler = R::NAME, error = format!("{error:#}"), "pass failed"),
        }
    }
}
