//! Stands in for the platforms Klaviyo, Eventbrite, Patreon and Discord: their records and how these change, their
//! API with its traps, their limits, their webhooks, their faults.
//!
//! Written from the platforms' documents and from nothing of ours, so that a misreading in an
//! adapter is not mirrored here. [`start`] runs it in the process of a test; the binary
//! `syncline-simulator` runs it alone.

mod account;
mod answer;
mod chance;
mod clock;
mod config;
mod content;
mod control;
mod deliver;
mod discord;
mod edge;
mod eventbrite;
mod fault;
mod gate;
mod hook;
mod journal;
mod json;
mod klaviyo;
mod limit;
mod locked;
mod notice;
mod patreon;
mod post;
mod quota;
mod record;
mod records;
mod server;
mod sign;
mod simulator;
mod truth;
mod universe;
mod world;

pub use account::{AccountStats, ChangeStats};
pub use config::{
    AccountConfig, ChangeConfig, Config, Credential, DiscordConfig, EdgeConfig, EventbriteConfig,
    GuildAccess, KlaviyoConfig, PatreonConfig, QuotaConfig, QuotaScope, Switches, WebhookConfig,
    Windows,
};
pub use fault::{Fault, Hits};
pub use gate::{GateRule, GateState};
pub use journal::{Fetches, RequestCount, RequestRow};
pub use notice::DeliveryStats;
pub use quota::QuotaStats;
pub use record::{Platform, RecordId, RecordType};
pub use records::{ChangeError, ChangeKind};
pub use simulator::{Simulator, start};
pub use truth::{DeletedRecord, LiveRecord, Truth};
pub use world::{ChangeRequest, Changed, Frozen, Stats, World};
