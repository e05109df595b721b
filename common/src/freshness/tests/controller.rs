//! A price that follows the quota, on lanes made up for it.

use super::super::gamma::Gamma;
use super::super::{
    Alike, Belief as _, ControllerSettings, Habits, Notices, PriceController, fitting_price,
    optimum,
};
use super::assert_near;

/// One tick is a minute.
const TICK_DAYS: f64 = 1.0 / 1440.0;

/// Ticks of one planning horizon.
const HORIZON: f64 = 5.0;

/// Records that are looked at when they are worth the price and the quota allows.
struct Lane {
    records: Vec<(Habits, f64)>,
    controller: PriceController,
    now_days: f64,
    unspent: f64,
}

/// What an hour was like.
struct Hour {
    /// The share of the quota that was spent.
    spent: f64,
    /// The highest price in its second half over the lowest.
    swing: f64,
}

impl Lane {
    fn new(price: f64) -> Self {
        // Rates over four decades around one a day; ages as after an import that took an hour.
        let record = |i: u32| {
            let spread = f64::from(i) / 399.0;
            (Habits::new(10_f64.powf(4.0 * spread - 2.0), 0.0, 1.0), -spread / 24.0)
        };
        Self {
            records: (0..400).map(record).collect(),
            controller: PriceController::new(price, ControllerSettings::default()),
            now_days: 0.0,
            unspent: 0.0,
        }
    }

    fn hour(&mut self, looks_per_hour: f64) -> Hour {
        let (mut spent, mut low, mut high) = (0.0, f64::INFINITY, 0.0_f64);
        let capacity = looks_per_hour / 60.0;
        for tick in 0..60 {
            self.now_days += TICK_DAYS;
            // What is not spent at once is soon lost.
            self.unspent = (self.unspent + capacity).min(2.0 * capacity + 1.0);
            let (now, price) = (self.now_days, self.controller.price());
            let mut due: Vec<(usize, f64)> = self
                .records
                .iter()
                .enumerate()
                .map(|(i, (habits, since))| (i, habits.gain(now - since).value))
                .filter(|(_, value)| *value >= price)
                .collect();
            due.sort_by(|a, b| b.1.total_cmp(&a.1));
            self.controller.tick(due.len() as f64, HORIZON * capacity, 1.0 / 60.0);
            let taken = due.len().min(self.unspent as usize);
            for (i, _) in &due[..taken] {
                self.records[*i].1 = now;
            }
            self.unspent -= taken as f64;
            spent += taken as f64;
            if tick >= 30 {
                low = low.min(self.controller.price());
                high = high.max(self.controller.price());
            }
        }
        Hour { spent: spent / looks_per_hour, swing: high / low }
    }

    fn hours(&mut self, count: usize, looks_per_hour: f64) {
        for _ in 0..count {
            self.hour(looks_per_hour);
        }
    }
}

#[test]
fn the_price_settles_where_the_quota_is_spent_and_does_not_swing() {
    for start in [1e-9, 1e-3, 1e3] {
        for looks_per_hour in [100.0, 600.0] {
            let mut lane = Lane::new(start);
            lane.hours(12, looks_per_hour);
            for hour in 0..8 {
                let Hour { spent, swing } = lane.hour(looks_per_hour);
                let case = format!("from {start} at {looks_per_hour}, hour {hour}");
                assert!((0.97..=1.03).contains(&spent), "{case}: {spent}");
                assert!(swing < 1.5, "{case}: {swing}");
            }
        }
    }
}

#[test]
fn a_quota_ten_times_larger_or_smaller_is_spent_after_an_hour() {
    for (before, after) in [(60.0, 600.0), (600.0, 60.0)] {
        let mut lane = Lane::new(1e-3);
        lane.hours(10, before);
        lane.hour(after);
        for hour in 1..5 {
            let Hour { spent, swing } = lane.hour(after);
            assert!((0.95..=1.05).contains(&spent), "{before} to {after}, hour {hour}: {spent}");
            assert!(swing < 1.6, "{before} to {after}, hour {hour}: {swing}");
        }
    }
}

#[test]
fn rates_ten_times_higher_or_lower_are_followed_within_an_hour() {
    for factor in [0.1, 10.0] {
        let mut lane = Lane::new(1e-3);
        lane.hours(10, 400.0);
        for (habits, _) in &mut lane.records {
            *habits = Habits::new(habits.silent_per_day() * factor, 0.0, 1.0);
        }
        lane.hour(400.0);
        for hour in 1..5 {
            let Hour { spent, swing } = lane.hour(400.0);
            assert!((0.95..=1.05).contains(&spent), "by {factor}, hour {hour}: {spent}");
            assert!(swing < 1.6, "by {factor}, hour {hour}: {swing}");
        }
    }
}

#[test]
fn among_millions_of_records_the_price_flutters_but_does_not_swing() {
    // So many stand just below the price that any fall makes far too many due, and any rise none.
    let mut controller = PriceController::new(0.01, ControllerSettings::default());
    let worth = 0.02_f64;
    let second = 1.0 / 3600.0;
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for tick in 0..7200 {
        let due = if controller.price() <= worth { 1e6 } else { 0.0 };
        controller.tick(due, 16.0, second);
        if tick > 3600 {
            low = low.min(controller.price());
            high = high.max(controller.price());
        }
    }
    assert!(low < worth && worth < high && high / low < 1.01, "{low} to {high}");
}

#[test]
fn a_frozen_lane_keeps_its_price() {
    let mut controller = PriceController::new(0.5, ControllerSettings::default());
    let before = controller;
    controller.tick(1e6, 0.0, 1.0);
    assert_eq!(controller, before);
}

#[test]
fn a_price_follows_what_is_believed_and_keeps_what_was_corrected() {
    let mut controller = PriceController::new(0.5, ControllerSettings::default());
    controller.follow(3.0);
    assert_near(controller.price(), 1.5, 1e-12);
    for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        controller.follow(nonsense);
        assert_near(controller.price(), 1.5, 1e-12);
    }
}

#[test]
fn the_fitting_price_is_that_of_the_optimum_wherever_the_search_begins() {
    let habits: Vec<Habits> =
        (0..200).map(|i| Habits::new(10_f64.powf(f64::from(i) / 50.0 - 2.0), 0.1, 1.0)).collect();
    let alike: Vec<Alike> =
        habits.iter().map(|habits| Alike { habits: *habits, count: 1.0 }).collect();
    let demand = |price: f64| -> f64 {
        habits.iter().map(|one| one.looks_per_day(one.threshold_age_days(price))).sum()
    };
    for budget in [1.0, 20.0, 500.0] {
        let best = optimum(&alike, budget).price;
        for start in [1e-7, best * 0.99, best, 1e4, f64::NAN, 0.0] {
            assert_near(fitting_price(start, budget, demand), best, 2e-3);
        }
    }
    // Nobody asks, or all ask for too much whatever it costs: it ends all the same.
    assert!(fitting_price(1.0, 10.0, |_| 0.0) < 1e-6);
    assert!(fitting_price(1.0, 10.0, |_| 1e9) > 1e6);
}

#[test]
fn what_is_believed_of_a_rate_says_how_many_looks_it_takes() {
    // The mean over the rates of c/(e^(c i) - 1), by a sum over a Gamma that is nearly a point.
    let notices = Notices::new(0.8, 0.05);
    let gamma = Gamma::new(1e6, 1e6 / 0.7);
    let exactly = notices.habits(0.7, 1.0).looks_per_day(Some(2.0));
    assert_near(gamma.looks_per_day(&notices, 2.0), exactly, 1e-3);
}
