//! The optimum of a population.

use super::super::{
    Alike, Habits, allocation, at_price, budget_for, fresh_share_at_random, optimum,
};
use super::assert_near;

fn three() -> [Alike; 3] {
    [(0.2, 0.1, 1.0), (1.0, 0.0, 3.0), (6.0, 2.0, 1.0)]
        .map(|(a, c, w)| Alike { habits: Habits::new(a, c, w), count: 1.0 })
}

#[test]
fn the_price_spends_the_budget() {
    for budget in [0.05, 0.5, 2.0, 20.0] {
        assert_near(optimum(&three(), budget).looks_per_day, budget, 1e-6);
    }
}

#[test]
fn no_allocation_of_three_records_is_better() {
    // All ways to give out a budget in steps of a fortieth, each record looked at when it
    // reaches an age that takes its part.
    let budget = 1.5;
    let best = optimum(&three(), budget);
    let share = |group: &Alike, looks: f64| {
        // The threshold age at which a record takes `looks` per day, by bisection.
        let (mut short, mut long) = (1e-6, 1e6);
        for _ in 0..200 {
            let age = f64::midpoint(short, long);
            if group.habits.looks_per_day(Some(age)) > looks { short = age } else { long = age }
        }
        let age = (looks > 0.0).then_some(long);
        group.habits.weight() * group.habits.fresh_share(age) / 5.0
    };
    let steps = 40;
    let mut brute = 0.0_f64;
    let groups = three();
    for first in 0..=steps {
        for second in 0..=(steps - first) {
            let part = |n: i32| budget * f64::from(n) / f64::from(steps);
            let looks = [part(first), part(second), part(steps - first - second)];
            brute = brute.max(groups.iter().zip(looks).map(|(group, l)| share(group, l)).sum());
        }
    }
    assert!(best.fresh_share >= brute - 1e-9, "{} < {brute}", best.fresh_share);
    assert_near(best.fresh_share, brute, 1e-3);
}

#[test]
fn the_fastest_record_is_given_up_first() {
    let best = optimum(&three(), 0.3);
    assert!(best.price > three()[2].habits.ceiling());
    assert_eq!(three()[2].habits.threshold_age_days(best.price), None);
}

#[test]
fn the_optimum_is_better_than_chance() {
    for budget in [0.01, 0.1, 1.0, 10.0] {
        let best = optimum(&three(), budget).fresh_share;
        assert!(best > fresh_share_at_random(&three(), budget), "{budget}");
    }
}

#[test]
fn a_count_stands_for_that_many() {
    let alone = three();
    let many = alone.map(|group| Alike { count: 50.0, ..group });
    assert_near(optimum(&many, 50.0).price, optimum(&alone, 1.0).price, 1e-6);
    assert_near(at_price(&many, 0.1).fresh_share, at_price(&alone, 0.1).fresh_share, 1e-12);
}

#[test]
fn nobody_and_those_who_never_change_are_fresh() {
    let still = Alike { habits: Habits::new(0.0, 1.0, 1.0), count: 9.0 };
    for population in [&[][..], &[still][..]] {
        let best = optimum(population, 5.0);
        assert_near(best.fresh_share, 1.0, 0.0);
        assert_near(best.looks_per_day, 0.0, 0.0);
    }
}

#[test]
fn the_allocation_spends_the_budget_also_where_it_lies_in_a_jump() {
    for budget in [0.001, 0.05, 0.5, 2.0, 20.0] {
        let best = optimum(&three(), budget);
        let looks: f64 = allocation(&three(), &best).iter().sum();
        assert_near(looks, best.looks_per_day, 1e-6);
    }
}

#[test]
fn the_budget_for_a_share_gives_that_share() {
    for target in [0.5, 0.8, 0.99] {
        let needed = budget_for(&three(), target).unwrap();
        assert_near(needed.fresh_share, target, 1e-6);
        assert_near(optimum(&three(), needed.looks_per_day).fresh_share, target, 1e-4);
    }
    let still = [Alike { habits: Habits::new(0.0, 1.0, 1.0), count: 9.0 }];
    assert_near(budget_for(&still, 0.99).unwrap().looks_per_day, 0.0, 0.0);
    assert_eq!(budget_for(&three(), 1.5), None);
}
