//! An Eventbrite account.

use serde::{Deserialize, Serialize};

use super::{AccountConfig, Credential, QuotaConfig};

/// An Eventbrite account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventbriteConfig {
    /// The private token.
    pub token: Credential,
    /// The organization that the token belongs to.
    pub organization_id: String,
    /// `config.user_id` of webhooks.
    pub user_id: String,
    /// `config.webhook_id` of webhooks, which is also what `X-Eventbrite-Delivery` says.
    pub webhook_id: String,
    /// Events at the start.
    pub events: usize,
    /// Attendees at the start, over all events.
    pub attendees: usize,
    /// Orders at the start, over all events.
    pub orders: usize,
    /// Share of null fields that an answer leaves out.
    pub null_left_out: f64,
    /// What all platforms have.
    pub account: AccountConfig,
}

impl Default for EventbriteConfig {
    fn default() -> Self {
        Self {
            token: "simulated-token".into(),
            organization_id: "700100200300".to_owned(),
            user_id: "311000000001".to_owned(),
            webhook_id: "4400011".to_owned(),
            events: 4,
            attendees: 150,
            orders: 80,
            null_left_out: 0.3,
            account: AccountConfig {
                quotas: vec![QuotaConfig::new("hour", 100_000, 3_600_000)],
                ..AccountConfig::default()
            },
        }
    }
}
