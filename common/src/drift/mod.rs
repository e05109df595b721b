//! Has a record changed? Canonical form, hash, difference. Pure: no I/O and no clock.

mod hash;
mod shape;

pub use hash::ContentHash;
pub use shape::Shape;
