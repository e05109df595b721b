//! What the simulated accounts hold, allow, and get wrong.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

/// A simulated secret; not shown in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credential(pub String);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl From<&str> for Credential {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Everything about a run; the default is quiet: nothing changes, gets lost or comes late by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// All chance comes from it: the same seed makes the same universe and the same changes.
    pub seed: u64,
    /// Where the control API listens; port 0 takes a free one.
    pub control_listen: SocketAddr,
    /// How many of the last requests are remembered.
    pub request_log: usize,
    /// The Klaviyo account.
    pub klaviyo: KlaviyoConfig,
    /// The Eventbrite account.
    pub eventbrite: EventbriteConfig,
}

/// A Klaviyo account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KlaviyoConfig {
    /// The private API key.
    pub api_key: Credential,
    /// In the `meta` of webhooks.
    pub account_id: String,
    /// The key with which webhooks are signed.
    pub webhook_secret: Credential,
    /// `Klaviyo-Webhook-Id`.
    pub webhook_id: String,
    /// Revisions that are served, oldest first; older dates are retired.
    pub revisions: Vec<String>,
    /// Profiles at the start.
    pub profiles: usize,
    /// What both platforms have.
    pub account: AccountConfig,
}

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
    /// What both platforms have.
    pub account: AccountConfig,
}

/// What every simulated account has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountConfig {
    /// Where the platform listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How its records change by themselves.
    pub changes: ChangeConfig,
    /// For how long a read may show the state before a change: least and most, milliseconds.
    pub stale_ms: (u64, u64),
    /// All must have room for a request.
    pub quotas: Vec<QuotaConfig>,
    /// How its webhooks arrive.
    pub webhooks: WebhookConfig,
}

/// Random processes by which records change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeConfig {
    /// Changes of the median record in an hour; 0 stops them.
    pub per_record_hour: f64,
    /// Spread of the rates: the standard deviation of their logarithm.
    pub spread: f64,
    /// New records in an hour, over all.
    pub creations_hour: f64,
    /// Share of changes that delete the record.
    pub delete_share: f64,
    /// Share of changes that move counters and dates and no content (Klaviyo).
    pub volatile_share: f64,
}

/// So many requests in any window of that length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaConfig {
    /// Its name in the statistics.
    pub name: String,
    /// Requests in a window.
    pub limit: u32,
    /// Milliseconds.
    pub window_ms: u64,
    /// Path templates that count; all when empty.
    #[serde(default)]
    pub templates: Vec<String>,
}

/// How webhooks arrive, and how they fail to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where they go; nobody listens when absent.
    pub target: Option<Url>,
    /// Share of changes of which no webhook tells, because the platform has none for them.
    pub silent_share: f64,
    /// Share of notices that get lost.
    pub lost_share: f64,
    /// Share of notices that come twice.
    pub duplicated_share: f64,
    /// Mean of the exponential delay; it also brings notices out of order.
    pub delay_ms: u64,
    /// How long a delivery waits to take more notices along (Klaviyo).
    pub linger_ms: u64,
    /// Most notices in one delivery (Klaviyo); 1,000 as documented.
    pub batch: usize,
    /// Deliveries under way at once.
    pub concurrency: usize,
    /// Attempts of one delivery, the first included.
    pub attempts: u32,
    /// Wait after the first failed attempt; doubles up to `backoff_max_ms`.
    pub backoff_ms: u64,
    /// Longest wait between attempts.
    pub backoff_max_ms: u64,
    /// How long an answer may take.
    pub timeout_ms: u64,
    /// The webhook is disabled when all deliveries have failed for so long (Klaviyo: 48 h).
    pub disable_after_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            control_listen: free_port(),
            request_log: 10_000,
            klaviyo: KlaviyoConfig::default(),
            eventbrite: EventbriteConfig::default(),
        }
    }
}

impl Config {
    /// A busy small world: changes, losses, delays and late reads, within the project's default
    /// quotas; Eventbrite's 1,000 an hour are scaled to a run of a minute.
    pub fn lively(seed: u64) -> Self {
        let mut config = Self { seed, ..Self::default() };
        let changes = ChangeConfig {
            per_record_hour: 30.0,
            spread: 1.5,
            creations_hour: 600.0,
            delete_share: 0.02,
            volatile_share: 0.2,
        };
        let webhooks = WebhookConfig {
            lost_share: 0.1,
            duplicated_share: 0.1,
            delay_ms: 300,
            linger_ms: 200,
            ..WebhookConfig::default()
        };
        let klaviyo = &mut config.klaviyo.account;
        klaviyo.changes = changes.clone();
        klaviyo.webhooks = WebhookConfig { silent_share: 0.3, ..webhooks.clone() };
        klaviyo.quotas = vec![quota("burst", 75, 1_000), quota("steady", 500, 60_000)];
        let eventbrite = &mut config.eventbrite.account;
        eventbrite.changes = ChangeConfig { volatile_share: 0.0, ..changes };
        eventbrite.webhooks = webhooks;
        eventbrite.stale_ms = (0, 2_000);
        eventbrite.quotas = vec![quota("scaled-hour", 200, 10_000)];
        config
    }
}

impl Default for KlaviyoConfig {
    fn default() -> Self {
        Self {
            api_key: "pk_simulated".into(),
            account_id: "AbC123".to_owned(),
            webhook_secret: "simulated-webhook-secret".into(),
            webhook_id: "01JSIMULATEDWEBHOOK".to_owned(),
            revisions: ["2026-01-15", "2026-04-15", "2026-07-15"].map(str::to_owned).to_vec(),
            profiles: 300,
            account: AccountConfig {
                quotas: vec![quota("burst", 350, 1_000), quota("steady", 100_000, 60_000)],
                ..AccountConfig::default()
            },
        }
    }
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
                quotas: vec![quota("hour", 100_000, 3_600_000)],
                ..AccountConfig::default()
            },
        }
    }
}

impl Default for AccountConfig {
    fn default() -> Self {
        Self {
            listen: free_port(),
            changes: ChangeConfig::default(),
            stale_ms: (0, 0),
            quotas: Vec::new(),
            webhooks: WebhookConfig::default(),
        }
    }
}

impl AccountConfig {
    /// The stale times as durations.
    pub(crate) fn stale(&self) -> (Duration, Duration) {
        (Duration::from_millis(self.stale_ms.0), Duration::from_millis(self.stale_ms.1))
    }
}

impl Default for ChangeConfig {
    fn default() -> Self {
        Self {
            per_record_hour: 0.0,
            spread: 1.0,
            creations_hour: 0.0,
            delete_share: 0.0,
            volatile_share: 0.0,
        }
    }
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            target: None,
            silent_share: 0.0,
            lost_share: 0.0,
            duplicated_share: 0.0,
            delay_ms: 0,
            linger_ms: 0,
            batch: 1_000,
            concurrency: 8,
            attempts: 8,
            backoff_ms: 200,
            backoff_max_ms: 30_000,
            timeout_ms: 5_000,
            disable_after_ms: 48 * 3_600_000,
        }
    }
}

fn quota(name: &str, limit: u32, window_ms: u64) -> QuotaConfig {
    QuotaConfig { name: name.to_owned(), limit, window_ms, templates: Vec::new() }
}

fn free_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_name_only_what_it_changes_and_nothing_unknown() {
        let config: Config = serde_json::from_str(r#"{"klaviyo":{"profiles":3}}"#).unwrap();
        assert_eq!(config.klaviyo.profiles, 3);
        assert_eq!(config.eventbrite, EventbriteConfig::default());
        assert!(serde_json::from_str::<Config>(r#"{"klavyo":{}}"#).is_err());
    }

    #[test]
    fn debug_output_shows_no_credential() {
        let shown = format!("{:?}", Config::default());
        for secret in ["pk_simulated", "simulated-token", "simulated-webhook-secret"] {
            assert!(!shown.contains(secret));
        }
    }
}
