//! A Patreon client with one creator's token.

use serde::{Deserialize, Serialize};

use super::{AccountConfig, Credential, EdgeConfig, QuotaConfig};
use crate::record::Platform;

/// A Patreon client with one creator's token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatreonConfig {
    /// The OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Credential,
    /// The access token at the start.
    pub access_token: Credential,
    /// The refresh token at the start; good for one refresh.
    pub refresh_token: Credential,
    /// How long access tokens live, seconds; the first one too.
    pub expires_in: u64,
    /// The secret of the webhook that the account has from the start.
    pub webhook_secret: Credential,
    /// The id of that webhook.
    pub webhook_id: String,
    /// Members on a page when nobody asks for a size.
    pub page_size: usize,
    /// Campaigns at the start.
    pub campaigns: usize,
    /// Tiers at the start, over all campaigns.
    pub tiers: usize,
    /// Members at the start, over all campaigns.
    pub members: usize,
    /// What all platforms have.
    pub account: AccountConfig,
}

impl Default for PatreonConfig {
    fn default() -> Self {
        Self {
            client_id: "simulated-client".to_owned(),
            client_secret: "simulated-client-secret".into(),
            access_token: "simulated-access-token".into(),
            refresh_token: "simulated-refresh-token".into(),
            expires_in: 31 * 24 * 3600,
            webhook_secret: "simulated-patreon-secret".into(),
            webhook_id: "880001".to_owned(),
            page_size: 20,
            campaigns: 1,
            tiers: 3,
            members: 60,
            account: AccountConfig {
                quotas: QuotaConfig::documented(Platform::Patreon),
                edge: Some(EdgeConfig {
                    statuses: Vec::new(),
                    limit: 2_000,
                    window_ms: 600_000,
                    block_ms: 1_800_000,
                }),
                ..AccountConfig::default()
            },
        }
    }
}
