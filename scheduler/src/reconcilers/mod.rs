//! The repeated work of the scheduler, one file each.

mod budgets;
mod bulk;
mod depths;
mod flips;
mod learning;
mod quality_watch;
mod retention;
mod senders;
mod spot_checks;
mod sweep;
mod webhook_watch;

pub use budgets::Budgets;
pub use bulk::Bulk;
pub use depths::Depths;
pub use flips::FlipWatch;
pub use learning::Learning;
pub use quality_watch::QualityWatch;
pub use retention::Retention;
pub use senders::Senders;
pub use spot_checks::SpotChecks;
pub use sweep::Sweep;
pub use webhook_watch::WebhookWatch;
