//! The repeated work of the scheduler, one file each.

mod budgets;
mod bulk;
mod depths;
mod retention;
mod senders;
mod spot_checks;
mod sweep;

pub use budgets::Budgets;
pub use bulk::Bulk;
pub use depths::Depths;
pub use retention::Retention;
pub use senders::Senders;
pub use spot_checks::SpotChecks;
pub use sweep::Sweep;
