//! What planning costs: learning from a look and working out the next.

use std::hint::black_box;

use common::freshness::gamma::GammaEvidence;
use common::freshness::grid::GridEvidence;
use common::freshness::{Belief as _, Evidence, Notices, Observation};
use tokio::time::Instant;

/// Microseconds of one `observe`, `belief` and `planned_age_days` each, in a release build.
pub(super) fn plan_us<E: Evidence>(notices: &Notices) -> f64 {
    let prior = E::Prior::default();
    let mut evidence = E::default();
    let rounds = 20_000_u32;
    let began = Instant::now();
    for round in 0..rounds {
        let exposure_days = f64::from(round % 7 + 1);
        let changed = round % 3 == 0;
        let seen = Observation { exposure_days, changed, noticed: round % 2 == 0 };
        evidence = evidence.observe(&prior, notices, &seen);
        let price = f64::from(round % 11 + 1) / 10.0;
        let belief = evidence.belief(&prior);
        black_box(belief.planned_age_days(notices, 1.0, price, round % 5 == 0));
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}

/// The same for both learners, without webhooks and with them.
pub(super) fn all() -> [(&'static str, f64); 4] {
    let webhooks = Notices::new(0.9, 0.02);
    [
        ("planning a look, Gamma, no webhooks", plan_us::<GammaEvidence>(&Notices::NONE)),
        ("planning a look, Gamma, webhooks", plan_us::<GammaEvidence>(&webhooks)),
        ("planning a look, grid, no webhooks", plan_us::<GridEvidence>(&Notices::NONE)),
        ("planning a look, grid, webhooks", plan_us::<GridEvidence>(&webhooks)),
    ]
}
