//! Breaks things on purpose: servers and ways to them that can be killed, cut and slowed, a fleet of
//! real processes between them, and the ledger that says whether anything was lost.

pub mod chaos;
mod crew;
mod figures;
mod handover;
mod ledger;
mod postgres;
mod redis;
mod way;

pub use crew::{Crew, Member};
pub use handover::{Handover, Watch};
pub use ledger::Ledger;
pub use postgres::OwnPostgres;
pub use redis::OwnRedis;
pub use way::Way;
