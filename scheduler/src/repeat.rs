//! Repeated work.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{Instrument, debug_span, warn};

use crate::leader::Tenure;

/// Something to do every so often.
///
/// An activation takes no input but the state of the stores: it must do the right thing after a
/// restart, after a missed tick, and next to another scheduler doing the same. It may be dropped at
/// any await.
pub trait Reconcile: Send + 'static {
    /// The name used in spans and logs.
    const NAME: &'static str;

    /// One pass; returns how many things it changed. Bounded: what is left comes with the next.
    fn activate(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// Activates `task` at once and then every `period`, until the tenure is to stop: then a pass that
/// has begun is ended. When the tenure is lost, the pass is dropped.
pub async fn repeat<R: Reconcile>(mut task: R, period: Duration, tenure: Tenure) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let waiting = tenure.while_it_holds(ticks.tick());
        let Some(Some(_)) = tenure.stop().run_until_cancelled(waiting).await else { return };
        let span = debug_span!("reconcile", otel.name = R::NAME, changed = tracing::field::Empty);
        let pass = task.activate().instrument(span.clone());
        match tenure.while_it_holds(pass).await {
            None => return,
            Some(Ok(changed)) => {
                span.record("changed", changed);
            }
            // No retry here: the next tick is the retry.
            Some(Err(error)) => {
                warn!(reconciler = R::NAME, error = format!("{error:#}"), "pass failed");
            }
        }
    }
}
