//! How wrong is the mirror? Honest bounds from random samples. Pure: no I/O, no clock, no chance.
//!
//! Planned looks say nothing here, because they are chosen for being suspicious. All of this is
//! for *audit samples*: uniformly random records of a stratum, drawn whatever the plan says, and
//! found to be right or wrong.
//!
//! [`clopper_pearson`] is for a sample of fixed size (the audit of a bulk run), looked at once.
//! [`Outcomes::interval`] is a confidence sequence, for what is watched all the time. The two
//! alarms bound how often they cry wolf. [`combine`] joins strata.

mod alarm;
mod beta;
mod exact;
mod horizon;
mod sequence;
mod strata;

pub use alarm::{DriftAlarm, RiseAlarm};
pub use exact::{clopper_pearson, confidence_score, upper_bound};
pub use horizon::{HourlyOutcomes, MAX_HOURS, Reading};
pub use sequence::{Interval, Outcomes};
pub use strata::{Combined, Stratum, combine};

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
mod tests;

/// `alpha` within bounds that leave every formula a number.
fn level(alpha: f64) -> f64 {
    if alpha.is_nan() { 1e-12 } else { alpha.clamp(1e-12, 1.0 - 1e-12) }
}
