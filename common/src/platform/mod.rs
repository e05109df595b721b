//! The platforms: what they are asked, what they tell us, what their answers mean.

mod account;
mod api;
mod error;
mod record;
mod webhook;

pub use account::{Account, Consistency};
pub use error::PlatformError;
pub use record::{Look, Page, RecordKind, ScanFrom, Snapshot};
pub use webhook::{Notice, Refused, WebhookRequest};
