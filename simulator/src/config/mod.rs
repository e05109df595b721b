//! What the simulated accounts hold, allow, and get wrong: a test universe, as it stands in a file.

mod account;
mod discord;
mod eventbrite;
mod klaviyo;
mod patreon;
mod switches;

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use account::free_port;
pub use account::{
    AccountConfig, ChangeConfig, EdgeConfig, QuotaConfig, QuotaScope, WebhookConfig, Windows,
};
pub use discord::DiscordConfig;
pub use eventbrite::EventbriteConfig;
pub use klaviyo::KlaviyoConfig;
pub use patreon::PatreonConfig;
pub use switches::{GuildAccess, Switches};

/// A simulated secret; not shown in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
///
/// As JSON it is a universe file: the same file makes the same records and the same changes in the
/// same order, at the same times since the start.
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
    /// The Patreon client.
    pub patreon: PatreonConfig,
    /// The Discord application.
    pub discord: DiscordConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            control_listen: free_port(),
            request_log: 10_000,
            klaviyo: KlaviyoConfig::default(),
            eventbrite: EventbriteConfig::default(),
            patreon: PatreonConfig::default(),
            discord: DiscordConfig::default(),
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
        klaviyo.quotas =
            vec![QuotaConfig::new("burst", 75, 1_000), QuotaConfig::new("steady", 500, 60_000)];
        let eventbrite = &mut config.eventbrite.account;
        eventbrite.changes = ChangeConfig { volatile_share: 0.0, ..changes.clone() };
        eventbrite.webhooks = webhooks.clone();
        eventbrite.stale_ms = (0, 2_000);
        eventbrite.quotas = vec![QuotaConfig::new("scaled-hour", 200, 10_000)];
        let patreon = &mut config.patreon.account;
        // Each change of a member costs a request, and there are a hundred of them in a minute.
        patreon.changes =
            ChangeConfig { per_record_hour: 12.0, creations_hour: 100.0, ..changes.clone() };
        patreon.webhooks = webhooks.clone();
        let discord = &mut config.discord.account;
        discord.changes = ChangeConfig { creations_hour: 200.0, ..changes };
        discord.webhooks = WebhookConfig { probe_share: 0.1, timeout_ms: 3_000, ..webhooks };
        config
    }

    /// The records at the start of these platforms only; the others stand there empty, and nothing
    /// happens on them.
    #[must_use]
    pub fn only(mut self, platforms: &[crate::record::Platform]) -> Self {
        use crate::record::Platform::{Discord, Eventbrite, Klaviyo, Patreon};
        if !platforms.contains(&Klaviyo) {
            let own = &mut self.klaviyo;
            (own.profiles, own.lists, own.memberships) = (0, 0, 0);
            own.account.changes = ChangeConfig::default();
        }
        if !platforms.contains(&Eventbrite) {
            let own = &mut self.eventbrite;
            (own.events, own.attendees, own.orders) = (0, 0, 0);
            own.account.changes = ChangeConfig::default();
        }
        if !platforms.contains(&Patreon) {
            let own = &mut self.patreon;
            (own.campaigns, own.tiers, own.members) = (0, 0, 0);
            own.account.changes = ChangeConfig::default();
        }
        if !platforms.contains(&Discord) {
            let own = &mut self.discord;
            (own.guilds, own.roles, own.members, own.entitlements) = (0, 0, 0, 0);
            own.account.changes = ChangeConfig::default();
        }
        self
    }

    /// This configuration with the settings that `over` names laid over it.
    pub fn with(&self, over: &Value) -> serde_json::Result<Self> {
        let mut merged = serde_json::to_value(self)?;
        lay_over(&mut merged, over);
        serde_json::from_value(merged)
    }
}

/// Puts every value of `over` into `base`, object by object.
pub(crate) fn lay_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_may_name_only_what_it_changes_and_nothing_unknown() {
        let config: Config = serde_json::from_str(r#"{"klaviyo":{"profiles":3}}"#).unwrap();
        assert_eq!(config.klaviyo.profiles, 3);
        assert_eq!(config.eventbrite, EventbriteConfig::default());
        assert!(serde_json::from_str::<Config>(r#"{"klavyo":{}}"#).is_err());
    }

    #[test]
    fn settings_are_laid_over_others_and_nothing_unknown() {
        let over = json!({ "patreon": { "members": 2, "account": { "stale_ms": [1, 2] } } });
        let config = Config::lively(3).with(&over).unwrap();
        assert_eq!((config.seed, config.patreon.members), (3, 2));
        assert_eq!(config.patreon.account.stale_ms, (1, 2));
        assert_eq!(config.patreon.tiers, PatreonConfig::default().tiers);
        assert!(config.with(&json!({ "patreon": { "memberz": 2 } })).is_err());
    }

    #[test]
    fn a_universe_written_to_a_file_is_read_as_the_same() {
        let config = Config::lively(9);
        let text = serde_json::to_string_pretty(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn debug_output_shows_no_credential() {
        let shown = format!("{:?}", Config::default());
        for secret in [
            "pk_simulated",
            "simulated-token",
            "simulated-webhook-secret",
            "simulated-client-secret",
            "simulated-access-token",
            "simulated-refresh-token",
            "simulated-patreon-secret",
            "simulated-bot-token",
            "simulated-bridge-secret",
            "7777",
        ] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }
}
