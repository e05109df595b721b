//! When a record is looked at to learn.

use super::super::gamma::Gamma;
use super::super::grid::{GridEvidence, GridPrior};
use super::super::{Belief, Evidence as _, Habits, Notices, Observation};
use super::assert_near;
use super::learning::{learn, looks};

#[test]
fn a_look_at_the_telling_age_finds_no_change_as_often_as_is_wanted() {
    for notices in [Notices::NONE, Notices::new(0.8, 0.1)] {
        let gamma = Gamma::new(0.7, 5.0);
        let silent = 1.0 - notices.recall();
        assert_near(gamma.still_true(silent * gamma.telling_age_days(&notices, 0.2)), 0.2, 1e-4);
        let grid = GridEvidence::default().belief(&GridPrior::default());
        assert_near(grid.still_true(silent * grid.telling_age_days(&notices, 0.5)), 0.5, 1e-4);
    }
}

#[test]
fn a_record_given_up_as_too_fast_is_looked_at_again_while_it_may_be_worth_it() {
    let (none, price, prior) = (Notices::NONE, 5.0, GridPrior::default());
    // Ten looks 30 days apart, each of which found a change: fast, nobody knows how fast.
    let seen = [Observation { exposure_days: 30.0, changed: true, noticed: false }; 10];
    let belief = learn::<GridEvidence>(&prior, &seen).belief(&prior);
    assert_eq!(belief.threshold_age_days(&none, 1.0, price), None);
    // Each look of its is one that tells: after a long pause none would.
    for explores in [true, false] {
        let explored = belief.planned_age_days(&none, 1.0, price, explores).unwrap();
        assert_near(explored, belief.telling_age_days(&none, 0.5), 1e-9);
    }
    // Known to be far too fast: never.
    let seen = looks(3.0, 0.3, 30, 4);
    let belief = learn::<GridEvidence>(&prior, &seen).belief(&prior);
    assert!(belief.ln_spread() > 0.1 && belief.slower_than(1.0 / price) < 0.01, "{belief:?}");
    assert_eq!(belief.planned_age_days(&none, 1.0, price, true), None);
}

/// The price at which the rate is below `share` of the limit, 1/price, with a probability of 3 %.
fn price_of_three_per_cent(belief: &impl Belief, share: f64) -> f64 {
    let (mut low, mut high) = (1e-3, 1e3);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if belief.slower_than(share / middle) > 0.03 { low = middle } else { high = middle }
    }
    low
}

#[test]
fn a_record_that_may_be_slower_than_the_limit_but_hardly_by_a_tenth_is_not_tried_again() {
    // A rate of one a day, known within a sixth.
    let belief = Gamma::new(36.0, 36.0);
    let planned = |price| belief.planned_age_days(&Notices::NONE, 1.0, price, true);
    for share in [0.9, 1.0] {
        let price = price_of_three_per_cent(&belief, share);
        assert_eq!(belief.threshold_age_days(&Notices::NONE, 1.0, price), None, "given up");
        assert_eq!(planned(price).is_some(), share < 1.0, "{share}");
    }
    // Known within a tenth, it is let go however close it is.
    let belief = Gamma::new(110.0, 110.0);
    let price = price_of_three_per_cent(&belief, 0.9);
    assert_eq!(belief.threshold_age_days(&Notices::NONE, 1.0, price), None, "given up");
    assert_eq!(belief.planned_age_days(&Notices::NONE, 1.0, price, true), None);
}

#[test]
fn near_the_limit_a_planned_look_tells_more_for_what_it_costs_than_one_that_tells_most() {
    let belief = Gamma::new(36.0, 36.0);
    let price = price_of_three_per_cent(&belief, 0.9);
    let age = belief.planned_age_days(&Notices::NONE, 1.0, price, true).unwrap();
    // Fisher information on ln D of a look at a record with one change a day, and what is paid for
    // it beyond its worth.
    let information = |age: f64| age * age / age.exp_m1();
    let cost = |age: f64| price - Habits::new(1.0, 0.0, 1.0).gain(age).value;
    let per_cost = |age: f64| information(age) / cost(age);
    assert!(per_cost(age) > 1.15 * per_cost(1.59), "{age} {price}");
    // Waiting until it surely changed would cost little, and tell nothing.
    assert!(per_cost(age) > 2.0 * per_cost(10.0), "{age} {price}");
}

#[test]
fn a_record_that_is_looked_at_too_late_to_tell_its_rate_is_looked_at_earlier_now_and_then() {
    let seen = [Observation { exposure_days: 30.0, changed: true, noticed: false }; 10];
    let prior = GridPrior::default();
    let belief = learn::<GridEvidence>(&prior, &seen).belief(&prior);
    let price = 1.0;
    let age = belief.threshold_age_days(&Notices::NONE, 1.0, price).unwrap();
    assert_eq!(belief.planned_age_days(&Notices::NONE, 1.0, price, false), Some(age));
    let early = belief.planned_age_days(&Notices::NONE, 1.0, price, true).unwrap();
    assert!(early < age && early <= belief.telling_age_days(&Notices::NONE, 0.5), "{early} {age}");
}
