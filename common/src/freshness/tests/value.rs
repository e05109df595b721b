//! The value of a look, and the age at which it is worth its price.

use proptest::prelude::*;

use super::super::{Gain, Habits};
use super::{assert_near, integral};

fn habits() -> impl Strategy<Value = Habits> {
    let exponent = -4.0..3.0_f64;
    (exponent.clone(), prop_oneof![Just(0.0), exponent.prop_map(|e| 10_f64.powf(e))], 0.1..100.0)
        .prop_map(|(a, c, w)| Habits::new(10_f64.powf(a), c, w))
}

#[test]
fn the_value_is_the_integral_of_its_slope() {
    for (silent, resets, age) in
        [(0.1, 0.0, 3.0), (0.1, 0.9, 30.0), (5.0, 0.001, 1.0), (1e-6, 10.0, 2.0), (3.0, 40.0, 9.0)]
    {
        let habits = Habits::new(silent, resets, 2.5);
        let expected = integral(age, |t| {
            let unreset = if resets > 0.0 { -(-resets * t).exp_m1() / resets } else { t };
            2.5 * silent * (-silent * t).exp() * unreset
        });
        assert_near(habits.gain(age).value, expected, 1e-6);
    }
}

#[test]
fn without_webhooks_it_is_the_known_form() {
    // w/D [1 - (1 + D t) e^(-D t)] at D t = 1.
    let value = Habits::new(0.5, 0.0, 3.0).gain(2.0).value;
    assert_near(value, 3.0 / 0.5 * (1.0 - 2.0 * (-1.0_f64).exp()), 1e-12);
}

#[test]
fn tiny_ages_lose_no_digits() {
    let habits = Habits::new(0.3, 0.7, 1.0);
    // Beside the series, at the same precision: V/t^2 has no jump where it takes over.
    let ratio = |age: f64| habits.gain(age).value / (age * age);
    assert_near(ratio(0.999e-5), ratio(1.001e-5), 1e-5);
    assert_near(ratio(1e-9), 0.15, 1e-6);
    assert!(habits.gain(1e-12).value > 0.0);
}

#[test]
fn a_record_that_changes_too_fast_is_never_looked_at() {
    let habits = Habits::new(10.0, 30.0, 2.0);
    assert_near(habits.ceiling(), 0.05, 1e-12);
    assert_eq!(habits.threshold_age_days(0.05), None);
    assert_eq!(habits.threshold_age_days(0.06), None);
    assert!(habits.threshold_age_days(0.0499).is_some());
    assert_eq!(Habits::new(0.0, 3.0, 1.0).threshold_age_days(1e-9), None);
}

#[test]
fn a_free_look_is_due_at_once() {
    assert_eq!(Habits::new(1.0, 0.0, 1.0).threshold_age_days(0.0), Some(0.0));
}

#[test]
fn looks_and_fresh_share_agree_with_a_simulated_cycle() {
    // A cycle ends at the threshold age by a look, or before it by a notice.
    let (silent, resets, age) = (0.4, 0.6, 2.0);
    let habits = Habits::new(silent, resets, 1.0);
    let length = integral(age, |t| (-resets * t).exp());
    let fresh = integral(age, |t| (-(silent + resets) * t).exp());
    assert_near(habits.looks_per_day(Some(age)), (-resets * age).exp() / length, 1e-6);
    assert_near(habits.fresh_share(Some(age)), fresh / length, 1e-6);
    assert_near(habits.fresh_share(None), 0.6, 1e-12);
}

proptest! {
    #[test]
    fn a_look_at_the_threshold_age_is_worth_its_price(habits in habits(), part in 1e-9..0.999_f64) {
        let price = part * habits.ceiling();
        if let Some(age) = habits.threshold_age_days(price) {
            let Gain { value, .. } = habits.gain(age);
            prop_assert!((value / price - 1.0).abs() < 1e-6, "{value} for {price}");
        } else {
            prop_assert!(habits.gain(36_500.0).value < price);
        }
    }

    #[test]
    fn value_grows_with_age_up_to_the_ceiling(
        habits in habits(), age in 0.0..1000.0_f64, more in 1e-3..1000.0_f64,
    ) {
        let (now, later) = (habits.gain(age), habits.gain(age + more));
        prop_assert!(now.value <= later.value * (1.0 + 1e-9));
        prop_assert!(later.value <= habits.ceiling() * (1.0 + 1e-9));
        prop_assert!(now.slope_per_day >= 0.0);
    }

    #[test]
    fn looking_oftener_is_fresher(habits in habits(), age in 1e-3..100.0_f64) {
        let often = habits.fresh_share(Some(age));
        prop_assert!(habits.fresh_share(Some(age * 2.0)) <= often + 1e-12);
        prop_assert!(habits.fresh_share(None) <= often + 1e-12);
    }
}

#[test]
fn the_quick_gain_is_the_gain() {
    for silent in [1e-3, 0.3, 40.0] {
        for resets in [0.0, 1e-6, 0.02, 3.0] {
            for age in [1e-6, 0.01, 1.0, 30.0, 36_500.0] {
                let habits = Habits::new(silent, resets, 2.0);
                let (quick, gain) = (habits.quick_gain(age), habits.gain(age));
                assert_near(quick.value, gain.value, 1e-6);
                let off = (quick.slope_per_day - gain.slope_per_day).abs();
                assert!(off <= 1e-6 * gain.slope_per_day + 1e-15, "{quick:?} {gain:?}");
            }
        }
    }
}
