//! What every simulated account has.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Switches;
use crate::record::Platform;

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
    /// How the quotas count.
    pub windows: Windows,
    /// What happens to a caller whose requests fail too often; nothing when absent.
    pub edge: Option<EdgeConfig>,
    /// How its webhooks arrive.
    pub webhooks: WebhookConfig,
    /// Traps that can also be switched while it runs.
    pub switches: Switches,
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
    /// Share of changes that move counters and dates and no content.
    pub volatile_share: f64,
}

/// So many requests in a window of that length.
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
    /// Which requests are counted together.
    #[serde(default)]
    pub scope: QuotaScope,
}

/// Which of the requests that a quota covers share one count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaScope {
    /// All of the account.
    #[default]
    Account,
    /// Those to one endpoint, that is one path template.
    Endpoint,
    /// Those to one endpoint below one top-level resource (Discord: the guild).
    Route,
}

/// How a quota looks at time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Windows {
    /// Any window of that length, wherever it starts: a log of every request.
    #[default]
    Sliding,
    /// Windows that begin at whole multiples of their length on the platform's own clock.
    Fixed,
}

/// A block at the edge for callers whose requests fail too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// Statuses that count; every 4xx when empty.
    pub statuses: Vec<u16>,
    /// So many in the window bring the block.
    pub limit: u32,
    /// Milliseconds.
    pub window_ms: u64,
    /// How long the block lasts, milliseconds.
    pub block_ms: u64,
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
    /// Share of deliveries before which a request with a wrong signature is sent, to see whether
    /// it is refused with 401 (Discord).
    pub probe_share: f64,
    /// Mean of the exponential delay; it also brings notices out of order.
    pub delay_ms: u64,
    /// How long a delivery waits to take more notices along (Klaviyo, Discord's bridge).
    pub linger_ms: u64,
    /// Most notices in one delivery (Klaviyo, Discord's bridge); 1,000 as documented.
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
    /// The webhook is switched off when all deliveries have failed for so long (Klaviyo: 48 h).
    pub disable_after_ms: u64,
    /// The webhook is paused (Patreon) or switched off (Discord) after so many failures in a row.
    pub pause_after: u32,
}

impl AccountConfig {
    /// The stale times as durations.
    pub(crate) fn stale(&self) -> (Duration, Duration) {
        (Duration::from_millis(self.stale_ms.0), Duration::from_millis(self.stale_ms.1))
    }
}

impl QuotaConfig {
    /// A quota over all requests of the account.
    pub fn new(name: &str, limit: u32, window_ms: u64) -> Self {
        let name = name.to_owned();
        Self { name, limit, window_ms, templates: Vec::new(), scope: QuotaScope::Account }
    }

    /// The same for each endpoint, or each endpoint and guild, of these templates; of all when
    /// none is named.
    #[must_use]
    pub fn per(self, scope: QuotaScope, templates: &[&str]) -> Self {
        let templates = templates.iter().map(|&template| template.to_owned()).collect();
        Self { templates, scope, ..self }
    }

    /// The limits as the platform's documents state them.
    pub fn documented(platform: Platform) -> Vec<Self> {
        match platform {
            Platform::Klaviyo => super::klaviyo::documented(),
            Platform::Eventbrite => vec![Self::new("hour", 2_000, 3_600_000)],
            Platform::Patreon => {
                vec![Self::new("client", 100, 2_000), Self::new("token", 100, 60_000)]
            }
            // The numbers per route are found in headers only; this one is invented.
            Platform::Discord => vec![
                Self::new("global", 50, 1_000),
                Self::new("route", 10, 1_000).per(QuotaScope::Route, &[]),
            ],
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
            windows: Windows::default(),
            edge: None,
            webhooks: WebhookConfig::default(),
            switches: Switches::default(),
        }
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
            probe_share: 0.0,
            delay_ms: 0,
            linger_ms: 0,
            batch: 1_000,
            concurrency: 8,
            attempts: 8,
            backoff_ms: 200,
            backoff_max_ms: 30_000,
            timeout_ms: 5_000,
            disable_after_ms: 48 * 3_600_000,
            pause_after: 10,
        }
    }
}

/// A free port on the loopback address.
pub(crate) fn free_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
