//! Which record to look at next, and what that is worth. Pure: no I/O, no clock, no chance.
//!
//! [`Habits`] says what a look is worth when the rates are known, and [`optimum`] what the best
//! policy makes of a budget. [`gamma`] and [`grid`] learn a record's rate from looks that only
//! say "changed" or "not", [`NoticeCounts`] learns how far webhooks can be trusted. A
//! [`PriceController`] keeps spending at the quota that is left over, and [`request`] compares
//! requests that carry many looks. `docs/freshness.md` has the formulas together.

mod controller;
pub mod gamma;
pub mod grid;
mod legacy;
mod notices;
mod observation;
mod population;
mod price;
mod prior;
mod quadrature;
mod rates;
pub mod request;
mod solve;
mod special;
mod value;
mod weight;

pub use controller::{ControllerSettings, LEAST_PRICE, PriceController};
pub use notices::{NoticeCounts, Notices};
pub use observation::{Belief, EXPLORING, Evidence, Observation};
pub use population::{
    Alike, Optimum, allocation, at_price, budget_for, fresh_share_at_random, optimum,
};
pub use price::fitting_price;
pub use value::{Gain, Habits, MAX_PER_DAY, MAX_WEIGHT};
pub use weight::WeightRule;

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
mod tests;
