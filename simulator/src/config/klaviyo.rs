//! A Klaviyo account.

use serde::{Deserialize, Serialize};

use super::{AccountConfig, Credential, QuotaConfig, QuotaScope};

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
    /// Lists at the start.
    pub lists: usize,
    /// Memberships at the start, over all lists.
    pub memberships: usize,
    /// What all platforms have.
    pub account: AccountConfig,
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
            lists: 12,
            memberships: 150,
            account: AccountConfig {
                quotas: vec![
                    QuotaConfig::new("burst", 350, 1_000),
                    QuotaConfig::new("steady", 100_000, 60_000),
                ],
                ..AccountConfig::default()
            },
        }
    }
}

/// The tiers of revision 2026-07-15: for each endpoint a burst of a second and a steady minute.
///
/// Requests that ask for more (`include`, `additional-fields`) count under a template of their
/// own, which ends in `?` and what they ask for.
pub(super) fn documented() -> Vec<QuotaConfig> {
    let tier = |name: &str, burst: u32, steady: u32, templates: &[&str]| {
        let quota = |window: &str, limit, window_ms| {
            QuotaConfig::new(&format!("{name}-{window}"), limit, window_ms)
                .per(QuotaScope::Endpoint, templates)
        };
        [quota("burst", burst, 1_000), quota("steady", steady, 60_000)]
    };
    let large = [
        "/api/profiles",
        "/api/profiles/{id}",
        "/api/lists",
        "/api/lists/{id}",
        "/api/lists/{id}/profiles",
        "/api/lists/{id}/relationships/profiles",
    ];
    let extra_small = [
        "/api/webhooks",
        "/api/webhooks/{id}",
        "/api/webhook-topics",
        "/api/profiles/{id}?include",
        "/api/lists/{id}?profile_count",
    ];
    let medium = [
        "/api/profiles?predictive_analytics",
        "/api/profiles/{id}?predictive_analytics",
        "/api/lists/{id}/profiles?predictive_analytics",
    ];
    [
        tier("l", 75, 750, &large),
        tier("xl", 350, 3_500, &["/api/events"]),
        tier("m", 10, 150, &medium),
        tier("xs", 1, 15, &extra_small),
    ]
    .concat()
}
