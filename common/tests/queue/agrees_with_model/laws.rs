//! What must hold whatever happens.

use std::collections::BTreeMap;

use common::queue::model::Model;
use common::quota::LaneLimits;
use proptest::prelude::*;

/// From a grant until its request is answered or given up, us.
const DEADLINE: u64 = 1_000_000;

/// A request that may have been sent.
#[derive(Debug)]
pub(super) struct Sent {
    kind: String,
    granted: u64,
    pub(super) answered: Option<u64>,
}

impl Sent {
    pub(super) fn granted(kind: &str, now: u64) -> Self {
        Self { kind: kind.to_owned(), granted: now, answered: None }
    }
}

/// Liveness: no job waits while its permit is free.
///
/// - `urgent`: no webhook and no person's job does.
pub(super) fn nothing_can_run(model: &Model, urgent: bool, now: u64) -> bool {
    let mut model = model.clone();
    if urgent { model.claim_urgent(1, now) } else { model.claim(1, now) }.is_empty()
}

/// However the requests travelled between grant and answer, no window saw more than its limit:
/// each counts at the worst instant, which for a window that begins just before an answer is the
/// answer, and for the others the grant.
pub(super) fn no_window_is_too_full(
    limits: &LaneLimits,
    sent: &BTreeMap<i64, Sent>,
) -> Result<(), TestCaseError> {
    for (i, quota) in limits.quotas.iter().enumerate() {
        let window = u64::try_from(quota.window.as_micros()).unwrap();
        let arrivals: Vec<(u64, u64, u32)> = sent
            .values()
            .filter_map(|sent| {
                let kind = limits.kinds.get(&sent.kind);
                let draws = kind.is_none_or(|k| k.quotas.contains(&i));
                let cost = kind.map_or(1, |k| k.cost);
                let last = sent.answered.unwrap_or(u64::MAX).min(sent.granted + DEADLINE);
                draws.then_some((sent.granted, last, cost))
            })
            .collect();
        for &(_, start, _) in &arrivals {
            // A request could have been counted inside [start, start + window) when that overlaps
            // [granted, answered].
            let most: u32 = arrivals
                .iter()
                .filter(|(granted, answered, _)| *answered >= start && *granted < start + window)
                .map(|(_, _, cost)| cost)
                .sum();
            prop_assert!(most <= quota.limit, "{most} in a window of {quota:?}");
        }
    }
    Ok(())
}
