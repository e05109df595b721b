//! How far the webhooks of a record type can be trusted on one connection.

use super::observation::{Observation, kept_after};
use super::special::{non_negative, phi};
use super::value::{Habits, MAX_PER_DAY};

/// The largest recall: at 1 nothing would be left to look for, and an outage not be found.
const MAX_RECALL: f64 = 0.9999;

/// What webhooks tell of a record type on one connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Notices {
    recall: f64,
    false_per_day: f64,
}

impl Notices {
    /// No webhooks at all.
    pub const NONE: Self = Self { recall: 0.0, false_per_day: 0.0 };

    /// Takes any numbers.
    ///
    /// - `recall`: q, the share of changes that a webhook announces within its usual delay; 0 to
    ///   0.9999.
    /// - `false_per_day`: n, notices per record and day that no change led to.
    pub fn new(recall: f64, false_per_day: f64) -> Self {
        Self {
            recall: non_negative(recall, MAX_RECALL),
            false_per_day: non_negative(false_per_day, MAX_PER_DAY),
        }
    }

    /// q.
    pub fn recall(&self) -> f64 {
        self.recall
    }

    /// n, per record and day.
    pub fn false_per_day(&self) -> f64 {
        self.false_per_day
    }

    /// The weights x and y in the likelihood of a change that was found:
    /// x D + y (1 - e^(-(1 - q) D t)). After a notice it was announced (x = q) or the notice was
    /// false and the change silent (y = n); without one it was silent (y = 1).
    pub(super) fn causes(&self, by_notice: bool) -> (f64, f64) {
        if by_notice && self.recall + self.false_per_day > 0.0 {
            (self.recall, self.false_per_day)
        } else {
            (0.0, 1.0)
        }
    }

    /// What a record that changes at `changes_per_day` is like under these notices:
    /// a = (1 - q) D, c = q D + n.
    pub fn habits(&self, changes_per_day: f64, weight: f64) -> Habits {
        let announced = self.recall * changes_per_day;
        Habits::new(changes_per_day - announced, announced + self.false_per_day, weight)
    }
}

/// Counts from which recall and false notices are estimated, for each connection and record
/// type. Four numbers; they are sums, so that those of several workers can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoticeCounts {
    /// Changes that a webhook announced.
    pub announced: f64,
    /// Changes that none announced, found or expected.
    pub silent: f64,
    /// Notices that led to a record which had not changed.
    pub false_notices: f64,
    /// Days of all records together.
    pub exposure_days: f64,
}

impl NoticeCounts {
    /// What one observation adds.
    ///
    /// Counting what was found would overrate the webhooks: a look finds one change where there
    /// were several, and a notice hides the silent changes before it. So what cannot be seen
    /// enters with its expectation under the present estimates, which is the EM algorithm
    /// (Dempster, Laird and Rubin 1977) a record at a time: a t/(1 - e^(-a t)) silent changes
    /// where a look found the record changed after t days, a t before a notice, none where it was
    /// unchanged.
    ///
    /// - `changes_per_day`: the mean of what is believed of the record's rate D.
    pub fn of(seen: &Observation, notices: &Notices, changes_per_day: f64) -> Self {
        let days = non_negative(seen.exposure_days, super::solve::MAX_AGE_DAYS);
        let habits = notices.habits(changes_per_day, 1.0);
        let silent = habits.silent_per_day();
        // 1 - e^(-a t), and a t/(1 - e^(-a t)), which is 1 where a t is tiny.
        let any_silent = silent * phi(silent, days);
        let given_any = if any_silent > 1e-12 { silent * days / any_silent } else { 1.0 };
        let mut counts = Self { exposure_days: days, ..Self::default() };
        match (seen.noticed, seen.changed) {
            (false, true) => counts.silent = given_any,
            (true, true) => {
                let announced_per_day = habits.resets_per_day() - notices.false_per_day();
                let accidental = notices.false_per_day() * any_silent;
                let either = announced_per_day + accidental;
                let announced = if either > 0.0 { announced_per_day / either } else { 1.0 };
                counts.announced = announced;
                counts.false_notices = 1.0 - announced;
                counts.silent = announced * silent * days + (1.0 - announced) * given_any;
            }
            (true, false) => counts.false_notices = 1.0,
            (false, false) => {}
        }
        counts
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            announced: self.announced + other.announced,
            silent: self.silent + other.silent,
            false_notices: self.false_notices + other.false_notices,
            exposure_days: self.exposure_days + other.exposure_days,
        }
    }

    /// What is left after `elapsed_days`: 98 % a week.
    #[must_use]
    pub fn forget(&self, elapsed_days: f64) -> Self {
        let kept = kept_after(elapsed_days);
        Self {
            announced: self.announced * kept,
            silent: self.silent * kept,
            false_notices: self.false_notices * kept,
            exposure_days: self.exposure_days * kept,
        }
    }

    /// The estimates: the mean of a Beta posterior with a uniform prior for the recall, and of a
    /// Gamma posterior that begins with no false notice in 30 record-days.
    pub fn notices(&self) -> Notices {
        let changes = self.announced + self.silent;
        Notices::new(
            (self.announced + 1.0) / (changes + 2.0),
            self.false_notices / (self.exposure_days + 30.0),
        )
    }
}
