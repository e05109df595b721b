//! Keeps a lane's spending at the quota that is left over, by moving the price of a look.

use super::special::non_negative;

/// How fast the price moves. The defaults suit every lane; see the tests and the bench.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControllerSettings {
    /// k: by how much ln lambda falls in an hour when nothing is due, and rises when twice as
    /// much is due as can be granted, or more.
    pub gain_per_hour: f64,
    /// A lane that can grant fewer looks within the horizon is steered as if it could grant so
    /// many: one record more or less must not move the price by much.
    pub least_capacity: f64,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self { gain_per_hour: 12.0, least_capacity: 10.0 }
    }
}

/// The lowest price: at it, what is worth a microsecond of freshness is looked at. Where a lane
/// begins, so that it looks at its oldest records first until the price has found its place.
pub const LEAST_PRICE: f64 = 1e-11;

/// Prices outside of these are nobody's: a look worth a microsecond, or a thousand years.
const PRICE_DAYS: (f64, f64) = (LEAST_PRICE, 1e15);

/// What was due longer ago than this says little about now.
const MOST_ELAPSED_HOURS: f64 = 0.1;

/// The price lambda of one lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceController {
    ln_price: f64,
    settings: ControllerSettings,
}

impl PriceController {
    /// Begins at `price`: what was stored last, or [`super::fitting_price`] of a sample.
    pub fn new(price: f64, settings: ControllerSettings) -> Self {
        let price = non_negative(price, PRICE_DAYS.1).max(PRICE_DAYS.0);
        let settings = ControllerSettings {
            gain_per_hour: non_negative(settings.gain_per_hour, 1e3),
            least_capacity: non_negative(settings.least_capacity, 1e9).max(1.0),
        };
        Self { ln_price: price.ln(), settings }
    }

    /// lambda, in days of freshness times weight.
    pub fn price(&self) -> f64 {
        self.ln_price.exp()
    }

    /// Follows the price that the budget calls for by what is believed of the records
    /// ([`super::fitting_price`]): where that moved by a factor, so does this one. What the
    /// controller has corrected so far, it keeps.
    ///
    /// - `factor`: of that price, found anew, over what was found before.
    pub fn follow(&mut self, factor: f64) {
        if factor.is_finite() && factor > 0.0 {
            let ln_price = self.ln_price + factor.ln();
            self.ln_price = ln_price.clamp(PRICE_DAYS.0.ln(), PRICE_DAYS.1.ln());
        }
    }

    /// ln lambda += k * elapsed * (due - capacity)/capacity, the last factor within -1 and 1.
    ///
    /// Within these bounds the price moves by k * elapsed at most, however many records of a
    /// large mirror stand just below it: it may flutter by that, never swing.
    ///
    /// So the stock of due records is kept at what one horizon can work off: less, and quota is
    /// lost while nothing is due; more, and the records in it are older than they should be. It
    /// steers on spending. V of what is looked at saturates and would say nothing about how much
    /// too low the price is.
    ///
    /// - `due`: records worth a look at the present price, those that wait in the queue and those that
    ///   are looked at to learn included: they take of the same quota. Counted up to twice the
    ///   capacity, or twice [`ControllerSettings::least_capacity`] where that is more; what is beyond
    ///   moves the price no faster.
    /// - `capacity`: looks that can be granted within the planning horizon (a minute or a few).
    ///   Without any the price rests: a frozen lane has no opinion.
    /// - `elapsed_hours`: since the tick before.
    pub fn tick(&mut self, due: f64, capacity: f64, elapsed_hours: f64) {
        let capacity = non_negative(capacity, f64::MAX);
        if capacity <= 0.0 {
            return;
        }
        let capacity = capacity.max(self.settings.least_capacity);
        let excess = (non_negative(due, f64::MAX) - capacity) / capacity;
        let hours = non_negative(elapsed_hours, MOST_ELAPSED_HOURS);
        self.ln_price += self.settings.gain_per_hour * hours * excess.min(1.0);
        self.ln_price = self.ln_price.clamp(PRICE_DAYS.0.ln(), PRICE_DAYS.1.ln());
    }
}
