//! What a look at a record is worth when its habits are known, and when it is worth its price.

use super::solve;
use super::special::{non_negative, phi};

/// The largest rate that is told apart from infinity, per day: a change every 86 ms.
pub const MAX_PER_DAY: f64 = 1e6;
/// The largest weight of a record.
pub const MAX_WEIGHT: f64 = 1e9;

/// How a record changes, and how much of that we are told; rates of Poisson processes.
///
/// With changes at rate D per day, of which a webhook announces a share q, and false notices at
/// rate n per day: a = (1 - q) D and c = q D + n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habits {
    silent_per_day: f64,
    resets_per_day: f64,
    weight: f64,
}

/// What a look is worth, and how fast that grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gain {
    /// Expected days of freshness that a look now gains, times the record's weight.
    pub value: f64,
    /// Its derivative by the age, per day.
    pub slope_per_day: f64,
}

impl Habits {
    /// Takes any numbers: what is negative or not a number counts as zero, and what is too large
    /// as the largest.
    ///
    /// - `silent_per_day`: a, changes that only a look can find.
    /// - `resets_per_day`: c, notices after which the record is looked at in any case.
    /// - `weight`: w, what a day of this record's freshness is worth.
    pub fn new(silent_per_day: f64, resets_per_day: f64, weight: f64) -> Self {
        Self {
            silent_per_day: non_negative(silent_per_day, MAX_PER_DAY),
            resets_per_day: non_negative(resets_per_day, MAX_PER_DAY),
            weight: non_negative(weight, MAX_WEIGHT),
        }
    }

    /// a, per day.
    pub fn silent_per_day(&self) -> f64 {
        self.silent_per_day
    }

    /// c, per day.
    pub fn resets_per_day(&self) -> f64 {
        self.resets_per_day
    }

    /// w.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// What a look at age `age_days` is worth:
    ///
    /// V(t) = w [phi(a + c, t) - e^(-a t) phi(c, t)], phi(r, t) = (1 - e^(-r t)) / r
    ///
    /// and dV/dt = w a e^(-a t) phi(c, t) > 0. It is the index of the Lagrangian problem "most
    /// fresh time under a mean budget of looks": the best policy looks when V reaches one price.
    /// Computed as w a/(a + c) [phi(a, t) - e^(-a t) phi(c, t)], which is the same and loses no
    /// digits when a is much smaller than c; where (a + c) t is tiny, by the first two terms of
    /// the series, w a t^2 (1/2 - (2 a + c) t / 6).
    ///
    /// - `age_days`: time since the record was last known to be true, by a look or a webhook.
    ///
    /// Sources: Cho and Garcia-Molina, "Effective page refresh policies for Web crawlers", ACM
    /// TODS 28, 2003; Azar, Horvitz, Lubetzky, Peres and Shahaf, "Tractable near-optimal policies
    /// for crawling", PNAS 115, 2018.
    pub fn gain(&self, age_days: f64) -> Gain {
        let age = non_negative(age_days, solve::MAX_AGE_DAYS);
        let (silent, resets) = (self.silent_per_day, self.resets_per_day);
        if silent <= 0.0 {
            return Gain::default();
        }
        let either = silent + resets;
        let true_still = (-silent * age).exp();
        let unreset = phi(resets, age);
        let value = if either * age < 1e-5 {
            silent * age * age * (0.5 - (either + silent) * age / 6.0)
        } else {
            silent / either * (phi(silent, age) - true_still * unreset)
        };
        Gain {
            value: self.weight * value.max(0.0),
            slope_per_day: self.weight * silent * true_still * unreset,
        }
    }

    /// The same within a part in a million, with fewer exponentials, for sums over many rates. Where
    /// the ages are so short that the terms cancel, [`Self::gain`] is asked.
    pub(super) fn quick_gain(&self, age_days: f64) -> Gain {
        let (silent, resets) = (self.silent_per_day, self.resets_per_day);
        let age_days = non_negative(age_days, solve::MAX_AGE_DAYS);
        let (x, y) = (silent * age_days, resets * age_days);
        let is_plain = x > 1e-3 && (y > 1e-3 || resets <= 0.0);
        if !is_plain {
            return self.gain(age_days);
        }
        // Beyond 40 nothing is left of 1 - e^(-x) but the 1.
        let left = |reach: f64| if reach < 40.0 { (-reach).exp() } else { 0.0 };
        let true_still = left(x);
        let unreset = if resets > 0.0 { (1.0 - left(y)) / resets } else { age_days };
        let scale = self.weight * silent;
        let value =
            scale / (silent + resets) * ((1.0 - true_still) / silent - true_still * unreset);
        Gain { value: value.max(0.0), slope_per_day: scale * true_still * unreset }
    }

    /// w/(a + c), which no look at this record can be worth: from this price on it is never
    /// looked at. Zero when it never changes silently.
    pub fn ceiling(&self) -> f64 {
        if self.silent_per_day <= 0.0 {
            return 0.0;
        }
        self.weight / (self.silent_per_day + self.resets_per_day)
    }

    /// The age in days at which a look is worth `price`, or `None` when it never is: some records
    /// change too fast, or too slowly, to be worth a request.
    ///
    /// - `price`: lambda, in the unit of [`Gain::value`].
    pub fn threshold_age_days(&self, price: f64) -> Option<f64> {
        if price >= self.ceiling() {
            return None;
        }
        let mean = self.weight * self.silent_per_day;
        solve::age_days(price, mean, |age| self.gain(age))
    }

    /// Looks per day when the record is looked at whenever it reaches `age_days`:
    /// c/(e^(c i) - 1), or 1/i without webhooks. Most are spared by a webhook that comes first.
    pub fn looks_per_day(&self, age_days: Option<f64>) -> f64 {
        let Some(age) = age_days else { return 0.0 };
        let reach = self.resets_per_day * age;
        if reach < 1e-12 { 1.0 / age } else { self.resets_per_day / reach.exp_m1() }
    }

    /// Share of time that our copy is equal to the platform's when the record is looked at
    /// whenever it reaches `age_days`: phi(a + c, i)/phi(c, i); never looked at: c/(a + c).
    pub fn fresh_share(&self, age_days: Option<f64>) -> f64 {
        if self.silent_per_day <= 0.0 {
            return 1.0;
        }
        let either = self.silent_per_day + self.resets_per_day;
        match age_days {
            None => self.resets_per_day / either,
            Some(age) if age > 0.0 => phi(either, age) / phi(self.resets_per_day, age),
            Some(_) => 1.0,
        }
    }

    /// Fresh share when looks come at random, `looks_per_day` in the mean, whatever the age:
    /// (f + c)/(f + c + a). What uniform sampling gives.
    pub fn fresh_share_at_random(&self, looks_per_day: f64) -> f64 {
        let refreshed = non_negative(looks_per_day, f64::MAX) + self.resets_per_day;
        if self.silent_per_day <= 0.0 { 1.0 } else { refreshed / (refreshed + self.silent_per_day) }
    }
}
