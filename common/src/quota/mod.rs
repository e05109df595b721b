//! What a platform allows, and the right to ask it for something.
//!
//! A quota is enforced by two parts in one script: the token *bucket* paces, the *ledger* proves
//! that no window ever sees more than the limit (see `docs/queue.md`). This module has the words;
//! the arithmetic is in `queue/lua/` (`grant.lua`, `ledger.lua`, `answer.lua`) and, once more and
//! independently, in `queue::model`.

mod floors;
mod limits;
mod permit;

pub use floors::Floors;
pub use limits::{InvalidQuota, KindLimits, LaneLimits, Quota};
pub use permit::{Permit, Permits, QuotaError, RateScope, RateSignal};
