//! Accounts at simulated platforms beside those of the scene: any of the four, with a connection's
//! table for each.

use std::fs;

use anyhow::Context;
use simulator::{Changed, Platform, Simulator};
use tempfile::TempDir;
use tests::mirror::{self, Name};
use tests::scene::Scene;

/// What a bridge signs with in these stories.
pub(crate) const BRIDGE_SECRET: &str = "simulated-bridge-secret";

/// A simulator of its own, and the secrets of its accounts in files.
pub(crate) struct Accounts {
    pub(crate) platforms: Simulator,
    secrets: TempDir,
}

impl Accounts {
    pub(crate) async fn start(config: simulator::Config) -> anyhow::Result<Self> {
        let platforms = simulator::start(config).await?;
        let secrets = tempfile::tempdir()?;
        let known = platforms.config();
        let key = platforms.discord_public_key().context("the application has a key")?;
        for (name, secret) in [
            ("klaviyo-token", known.klaviyo.api_key.0.as_str()),
            ("klaviyo-webhook", &known.klaviyo.webhook_secret.0),
            ("eventbrite-token", &known.eventbrite.token.0),
            ("patreon-token", &known.patreon.access_token.0),
            ("patreon-webhook", &known.patreon.webhook_secret.0),
            ("discord-token", &known.discord.bot_token.0),
            ("discord-webhook", &key),
            ("notices", &known.discord.bridge_secret.0),
        ] {
            fs::write(secrets.path().join(name), secret)?;
        }
        for platform in Platform::ALL {
            let file = secrets.path().join(format!("{}-endpoint", platform.name()));
            fs::write(file, endpoint(platform))?;
        }
        Ok(Self { platforms, secrets })
    }

    /// Whether the mirror has this record as it is.
    pub(crate) async fn has_mirrored(
        &self,
        scene: &Scene,
        record: &Changed,
    ) -> anyhow::Result<bool> {
        let truth = self.platforms.truth().records.into_iter();
        let truth = truth
            .filter(|there| {
                there.record_type == record.record_type && there.external_id == record.external_id
            })
            .map(|there| {
                let record_type = format!("{:?}", there.record_type).to_lowercase();
                let name: Name = (there.platform.name().to_owned(), record_type, there.external_id);
                (name, there.payload)
            })
            .collect();
        let mut mirror = mirror::mirrored(&scene.db).await?;
        mirror.retain(|name, _| name.2 == record.external_id);
        Ok(mirror::compare(&truth, &mirror).is_empty())
    }

    /// The table of the connection to one of them, with further keys.
    pub(crate) fn table(&self, platform: Platform, more: &str) -> String {
        let (name, place) = (platform.name(), self.secrets.path().display());
        let known = self.platforms.config();
        let (account, url) = match platform {
            Platform::Klaviyo => ("", self.platforms.klaviyo_url.to_string()),
            Platform::Eventbrite => (
                known.eventbrite.organization_id.as_str(),
                self.platforms.eventbrite_url.to_string(),
            ),
            Platform::Patreon => ("", format!("{}api/oauth2/v2", self.platforms.patreon_url)),
            Platform::Discord => {
                (known.discord.application_id.as_str(), self.platforms.discord_url.to_string())
            }
        };
        let signed = match platform {
            Platform::Eventbrite => String::new(),
            _ => format!("webhook_secret_file = \"{place}/{name}-webhook\"\n"),
        };
        format!(
            r#"
[connections."{}"]
account = "{account}"
base_url = "{url}"
token_file = "{place}/{name}-token"
endpoint_id_file = "{place}/{name}-endpoint"
notice_secret_file = "{place}/notices"
{signed}{more}
"#,
            lane(platform)
        )
    }
}

/// The name of the connection.
pub(crate) fn lane(platform: Platform) -> String {
    format!("{}/other", platform.name())
}

/// The last part of its webhook's address.
pub(crate) fn endpoint(platform: Platform) -> String {
    format!("other-{}-0123456789abcdef0123", platform.name())
}
