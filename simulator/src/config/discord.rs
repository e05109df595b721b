//! A Discord application with its bot.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{AccountConfig, Credential, EdgeConfig, QuotaConfig, WebhookConfig};
use crate::record::Platform;

/// A Discord application with its bot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscordConfig {
    /// The application.
    pub application_id: String,
    /// The bot's token.
    pub bot_token: Credential,
    /// 32 bytes in hex: the key that signs webhook events. The public half is
    /// [`World::discord_public_key`](crate::World::discord_public_key).
    pub signing_seed: Credential,
    /// Types of webhook events that are sent from the start.
    pub event_types: Vec<String>,
    /// Where a gateway bridge posts its notices of members, roles and guilds.
    pub bridge_target: Option<Url>,
    /// The key with which the bridge signs them.
    pub bridge_secret: Credential,
    /// Guilds at the start.
    pub guilds: usize,
    /// Roles at the start, over all guilds, `@everyone` not counted.
    pub roles: usize,
    /// Members at the start, over all guilds.
    pub members: usize,
    /// Entitlements at the start.
    pub entitlements: usize,
    /// What all platforms have; its webhook target takes the events.
    pub account: AccountConfig,
}

impl Default for DiscordConfig {
    fn default() -> Self {
        let types = [
            "APPLICATION_AUTHORIZED",
            "ENTITLEMENT_CREATE",
            "ENTITLEMENT_UPDATE",
            "ENTITLEMENT_DELETE",
        ];
        Self {
            application_id: "1019370614521200999".to_owned(),
            bot_token: "simulated-bot-token".into(),
            signing_seed: Credential("7".repeat(64)),
            event_types: types.map(str::to_owned).to_vec(),
            bridge_target: None,
            bridge_secret: "simulated-bridge-secret".into(),
            guilds: 2,
            roles: 6,
            members: 60,
            entitlements: 12,
            account: AccountConfig {
                quotas: QuotaConfig::documented(Platform::Discord),
                edge: Some(EdgeConfig {
                    statuses: vec![401, 403, 429],
                    limit: 10_000,
                    window_ms: 600_000,
                    block_ms: 600_000,
                }),
                // An event must be answered within three seconds.
                webhooks: WebhookConfig { timeout_ms: 3_000, ..WebhookConfig::default() },
                ..AccountConfig::default()
            },
        }
    }
}
