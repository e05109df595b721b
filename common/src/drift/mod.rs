//! Has a record changed? Canonical form, hash, difference. Pure: no I/O and no clock.

mod canonical;
mod diff;
mod excluded;
mod hash;
mod raw;
mod shape;
#[cfg(test)]
mod tests;

pub use canonical::{Canonical, CanonicalError, MAX_BYTES, MAX_DEPTH, canonical, canonical_at};
pub use diff::{Change, Difference, MAX_CHANGES, difference};
pub use excluded::{Excluded, InvalidExclusion, MAX_EXCLUDED};
pub use hash::{ContentHash, InvalidContentHash, content_hash};
pub use shape::{Field, Shape};
