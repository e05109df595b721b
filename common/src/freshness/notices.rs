//! How far the webhooks of a record type can be trusted on one connection.

use super::gamma::{Gamma, GammaEvidence};
use super::observation::{Evidence as _, Observation, faded};
use super::solve::MAX_AGE_DAYS;
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

/// From what recall and false notices are estimated, for each connection and record type: six
/// numbers.
///
/// The share of announced ones among the changes that were found would overrate the webhooks,
/// the more so the rarer looks are: a notice hides the silent changes before it, and a look that
/// comes after none says "changed" once for several. What can be learnt without bias is the rate
/// of silent changes *per announced one*: rho = (1 - q)/q. In the time in which x announced
/// changes are expected, a look that no notice preceded finds the record changed with probability
/// 1 - e^(-rho x): the same censored evidence from which a record's rate is learnt
/// ([`super::gamma`]), with announced changes for days. q = 1/(1 + rho).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoticeCounts {
    /// Changes that a webhook announced.
    pub announced: f64,
    /// How many were expected in all exposures, from what was believed of the records.
    pub expected: f64,
    /// Evidence on rho: silent changes found by looks,
    pub silent: f64,
    /// and the announced ones that were expected in the time before these looks.
    pub silent_exposure: f64,
    /// Notices that led to a record which had not changed.
    pub false_notices: f64,
    /// Days of all records together.
    pub exposure_days: f64,
}

/// What is left of the counts after however long a time without a look.
const KEPT_AT_LEAST: f64 = 0.97;
/// Before anything is known: one silent change for each announced one.
const PRIOR: (f64, f64) = (1.0, 1.0);

impl NoticeCounts {
    /// The counts after one more observation.
    ///
    /// - `notices`: the estimates under which the record's rate was learnt.
    /// - `changes_per_day`: the mean of what is believed of that rate, before this observation.
    #[must_use]
    pub fn observe(&self, notices: &Notices, changes_per_day: f64, seen: &Observation) -> Self {
        let days = non_negative(seen.exposure_days, MAX_AGE_DAYS);
        let announced_per_day = notices.recall * non_negative(changes_per_day, MAX_PER_DAY);
        let expected = announced_per_day * days;
        let mut after = *self;
        after.exposure_days += days;
        after.expected += expected;
        match (seen.noticed, seen.changed) {
            (true, true) => {
                // Announced, or a silent change that a false notice happened to find.
                let silent = notices.habits(changes_per_day, 1.0).silent_per_day();
                let accidental = notices.false_per_day * silent * phi(silent, days);
                let either = announced_per_day + accidental;
                let announced = if either > 0.0 { announced_per_day / either } else { 1.0 };
                after.announced += announced;
                after.false_notices += 1.0 - announced;
            }
            (true, false) => after.false_notices += 1.0,
            (false, false) => after.silent_exposure += expected,
            (false, true) => {
                let prior = Gamma::new(PRIOR.0, PRIOR.1);
                let before =
                    GammaEvidence { changes: self.silent, exposure_days: self.silent_exposure };
                let rho = before.belief(&prior).after_change(&Notices::NONE, expected, false);
                after.silent = (rho.shape() - PRIOR.0).max(self.silent);
                after.silent_exposure = (rho.exposure_days() - PRIOR.1).max(self.silent_exposure);
            }
        }
        after
    }

    /// What is left after `elapsed_days`, a day or so: 98 % a week.
    #[must_use]
    pub fn forget(&self, elapsed_days: f64) -> Self {
        let kept = faded(elapsed_days).max(KEPT_AT_LEAST);
        Self {
            announced: self.announced * kept,
            expected: self.expected * kept,
            silent: self.silent * kept,
            silent_exposure: self.silent_exposure * kept,
            false_notices: self.false_notices * kept,
            exposure_days: self.exposure_days * kept,
        }
    }

    /// The estimates; half of the changes announced, and no false notice in 30 record-days, where
    /// nothing is known.
    ///
    /// The expected number of announced changes is set right by the number that came, so that
    /// rates which were learnt under a wrong recall do no harm.
    pub fn notices(&self) -> Notices {
        let came = (self.announced + 1.0) / (self.expected + 1.0);
        let silent = (self.silent + PRIOR.0) / (self.silent_exposure + PRIOR.1) / came;
        Notices::new(1.0 / (1.0 + silent), self.false_notices / (self.exposure_days + 30.0))
    }
}
