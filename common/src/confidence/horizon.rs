//! Drift changes over time: what the last hours say, and how many they are.

use std::collections::VecDeque;

use super::sequence::{Interval, Outcomes};

/// Hours that are kept at most.
pub const MAX_HOURS: usize = 14 * 24;

/// Outcomes by the hour, so that a confidence sequence may begin with any of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HourlyOutcomes {
    /// Ascending.
    hours: VecDeque<(i64, Outcomes)>,
}

/// What a horizon says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The hour with which the sequence began.
    pub since_hour: i64,
    /// All samples from then on.
    pub outcomes: Outcomes,
    /// The confidence sequence at this moment.
    pub interval: Interval,
}

impl HourlyOutcomes {
    /// Adds outcomes of `hour`, counted from any fixed instant. They may come late, but not by
    /// more than [`MAX_HOURS`].
    pub fn add(&mut self, hour: i64, outcomes: Outcomes) {
        let place = self.hours.partition_point(|(other, _)| *other < hour);
        match self.hours.get_mut(place) {
            Some((same, sum)) if *same == hour => *sum = sum.plus(outcomes),
            _ => self.hours.insert(place, (hour, outcomes)),
        }
        while self.hours.len() > MAX_HOURS {
            self.hours.pop_front();
        }
    }

    /// The confidence sequence that began `hours` hours before `now_hour`.
    ///
    /// A sequence begins anew every hour, and each holds for all its time with probability
    /// 1 - alpha. The one that is shown is chosen by the clock alone, never by its outcome: at
    /// any instant it is right with that probability, and within its hour however often one
    /// looks. Over many hours a share of up to alpha of them is wrong.
    pub fn reading(&self, now_hour: i64, hours: u16, alpha: f64) -> Reading {
        let since_hour = now_hour.saturating_sub(i64::from(hours));
        let outcomes = self
            .hours
            .iter()
            .filter(|(hour, _)| (since_hour..=now_hour).contains(hour))
            .fold(Outcomes::default(), |sum, (_, outcomes)| sum.plus(*outcomes));
        Reading { since_hour, outcomes, interval: outcomes.interval(alpha) }
    }
}
