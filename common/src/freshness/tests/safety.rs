//! Whatever goes in, numbers come out.

use proptest::prelude::*;

use super::super::gamma::{Gamma, GammaEvidence};
use super::super::grid::{GridEvidence, GridPrior, RATES};
use super::super::request::{Offer, price_per_look};
use super::super::{
    Belief, ControllerSettings, Evidence, Habits, NoticeCounts, Notices, Observation,
    PriceController,
};

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.0),
        Just(-0.0),
        Just(1.0),
        Just(f64::MIN_POSITIVE),
        Just(f64::MAX),
        (-12.0..12.0_f64).prop_map(|e| 10_f64.powf(e)),
        0.0..1.0_f64,
    ]
}

fn observations() -> impl Strategy<Value = Vec<Observation>> {
    let one = (any_number(), any::<bool>(), any::<bool>()).prop_map(
        |(exposure_days, changed, noticed)| Observation { exposure_days, changed, noticed },
    );
    prop::collection::vec(one, 0..12)
}

fn notices() -> impl Strategy<Value = Notices> {
    (any_number(), any_number()).prop_map(|(recall, mistaken)| Notices::new(recall, mistaken))
}

/// Everything that can be asked of a belief.
fn ask(belief: &impl Belief, notices: &Notices, weight: f64, price: f64, age: f64) {
    assert!(belief.mean_per_day().is_finite() && belief.mean_per_day() >= 0.0);
    assert!((0.0..=1.0).contains(&belief.still_true(age)));
    let gain = belief.gain(notices, age);
    assert!(gain.value.is_finite() && gain.value >= 0.0, "{gain:?}");
    assert!(gain.slope_per_day.is_finite() && gain.slope_per_day >= 0.0, "{gain:?}");
    assert!(!belief.ln_spread().is_nan() && belief.ln_spread() >= 0.0);
    for explores in [false, true] {
        if let Some(age) = belief.planned_age_days(notices, weight, price, explores) {
            assert!((0.0..=36_500.0).contains(&age), "{age}");
        }
    }
}

fn learn<E: Evidence>(prior: &E::Prior, notices: &Notices, seen: &[Observation]) -> E {
    seen.iter().fold(E::default(), |evidence, one| evidence.observe(prior, notices, one))
}

/// As many as are stored, as were stored before, or any.
fn stored_weights() -> impl Strategy<Value = Vec<f64>> {
    let of = |count| prop::collection::vec(any_number(), count);
    prop_oneof![of(RATES..=RATES), of(16..=16), of(0..=3)]
}

proptest! {
    #[test]
    fn known_habits(
        a in any_number(), c in any_number(), w in any_number(), price in any_number(),
        age in any_number(), looks in any_number(),
    ) {
        let habits = Habits::new(a, c, w);
        let gain = habits.gain(age);
        prop_assert!(gain.value.is_finite() && gain.value >= 0.0);
        prop_assert!(gain.slope_per_day.is_finite() && gain.slope_per_day >= 0.0);
        prop_assert!(habits.ceiling() >= 0.0);
        let threshold = habits.threshold_age_days(price);
        if let Some(age) = threshold {
            prop_assert!((0.0..=36_500.0).contains(&age), "{age}");
        }
        prop_assert!(habits.looks_per_day(threshold) >= 0.0);
        prop_assert!((0.0..=1.0 + 1e-9).contains(&habits.fresh_share(threshold)));
        prop_assert!((0.0..=1.0).contains(&habits.fresh_share_at_random(looks)));
    }

    #[test]
    fn gamma(
        shape in any_number(), exposure in any_number(), notices in notices(),
        seen in observations(), w in any_number(), price in any_number(), age in any_number(),
    ) {
        let prior = Gamma::new(shape, exposure);
        let evidence: GammaEvidence = learn(&prior, &notices, &seen);
        ask(&evidence.belief(&prior), &notices, w, price, age);
        let fitted = GammaEvidence::refit(&prior, [evidence, GammaEvidence::default()]);
        ask(&fitted, &notices, w, price, age);
        let broken = GammaEvidence { changes: shape, exposure_days: exposure };
        ask(&broken.belief(&prior), &notices, w, price, age);
    }

    #[test]
    fn grid(
        weights in stored_weights(), notices in notices(),
        seen in observations(), w in any_number(), price in any_number(), age in any_number(),
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let prior = GridPrior::from_stored(&weights);
        for evidence in [learn::<GridEvidence>(&prior, &notices, &seen), GridEvidence::from_bytes(&bytes)] {
            let belief = evidence.belief(&prior);
            let sum: f64 = belief.points().iter().map(|(_, weight)| weight).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
            ask(&belief, &notices, w, price, age);
            let fitted = GridEvidence::refit(&prior, [evidence; 3]);
            prop_assert!((fitted.weights().iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(fitted.weights().iter().all(|weight| *weight > 0.001 / RATES as f64));
        }
    }

    #[test]
    fn notice_counts(seen in observations(), rates in any_number(), elapsed in any_number()) {
        let mut counts = NoticeCounts::default();
        for one in seen {
            counts = counts.observe(&counts.notices(), rates, &one).forget(elapsed);
        }
        let notices = counts.notices();
        prop_assert!((0.0..1.0).contains(&notices.recall()));
        prop_assert!(notices.false_per_day().is_finite());
    }

    #[test]
    fn the_price(
        start in any_number(), due in any_number(), capacity in any_number(),
        hourly in any_number(), gain in any_number(),
    ) {
        let settings = ControllerSettings {
            gain_per_hour: gain, least_capacity: hourly,
        };
        for settings in [settings, ControllerSettings::default()] {
            let mut controller = PriceController::new(start, settings);
            for _ in 0..3 {
                controller.tick(due, capacity, hourly);
                prop_assert!((0.9e-11..1.1e15).contains(&controller.price()));
            }
        }
    }

    #[test]
    fn offers(value in any_number(), records in any_number(), page in any_number(), share in any_number()) {
        for offer in [
            Offer::single(value),
            Offer::scan(value, records, page),
            Offer::changed_since(value, share, records, page),
        ] {
            prop_assert!(offer.value_per_request().is_finite() && offer.requests >= 1.0);
        }
        prop_assert!(!price_per_look(1.0, records).is_nan());
    }
}
