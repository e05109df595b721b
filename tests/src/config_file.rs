//! A configuration for a fleet in front of simulated platforms: a folder with a file and secrets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use common::config::Config;
use serde::Deserialize;
use simulator::{Platform, Simulator};
use tempfile::TempDir;

/// The unguessable part of Klaviyo's webhook address here.
pub const KLAVIYO_ENDPOINT: &str = "klaviyo-0123456789abcdef0123456789abcdef";
/// The same of Eventbrite's,
pub const EVENTBRITE_ENDPOINT: &str = "eventbrite-0123456789abcdef0123456789abcdef";
/// of Patreon's,
pub const PATREON_ENDPOINT: &str = "patreon-0123456789abcdef0123456789abcdef";
/// and of Discord's.
pub const DISCORD_ENDPOINT: &str = "discord-0123456789abcdef0123456789abcdef";
/// The lane of the simulated Klaviyo account,
pub const KLAVIYO: &str = "klaviyo/main";
/// of the Eventbrite account,
pub const EVENTBRITE: &str = "eventbrite/main";
/// of the Patreon client,
pub const PATREON: &str = "patreon/main";
/// and of the Discord application.
pub const DISCORD: &str = "discord/main";

/// The lane of the simulated account.
pub fn lane(platform: Platform) -> &'static str {
    match platform {
        Platform::Klaviyo => KLAVIYO,
        Platform::Eventbrite => EVENTBRITE,
        Platform::Patreon => PATREON,
        Platform::Discord => DISCORD,
    }
}

/// The unguessable part of the address of its webhooks.
pub fn endpoint(platform: Platform) -> &'static str {
    match platform {
        Platform::Klaviyo => KLAVIYO_ENDPOINT,
        Platform::Eventbrite => EVENTBRITE_ENDPOINT,
        Platform::Patreon => PATREON_ENDPOINT,
        Platform::Discord => DISCORD_ENDPOINT,
    }
}

/// Where simulated platforms are, as the simulator's first line of output says it.
#[derive(Clone, Debug, Deserialize)]
pub struct Addresses {
    #[serde(rename = "klaviyo_url")]
    klaviyo: String,
    #[serde(rename = "eventbrite_url")]
    eventbrite: String,
    #[serde(rename = "patreon_url")]
    patreon: String,
    #[serde(rename = "discord_url")]
    discord: String,
    /// What Discord's webhooks are checked with, in hex.
    discord_public_key: Option<String>,
}

impl Addresses {
    /// Those of platforms in this process.
    pub fn of(simulator: &Simulator) -> Self {
        Self {
            klaviyo: simulator.klaviyo_url.to_string(),
            eventbrite: simulator.eventbrite_url.to_string(),
            patreon: simulator.patreon_url.to_string(),
            discord: simulator.discord_url.to_string(),
            discord_public_key: simulator.discord_public_key(),
        }
    }

    /// Of platforms that nobody asks.
    pub fn nowhere() -> Self {
        let nowhere = || "http://127.0.0.1:9".to_owned();
        Self {
            klaviyo: nowhere(),
            eventbrite: nowhere(),
            patreon: nowhere(),
            discord: nowhere(),
            discord_public_key: None,
        }
    }

    /// What a connection to one of them needs.
    fn account(&self, platform: Platform, simulated: &simulator::Config) -> Account {
        let (base_url, name, token, webhook) = match platform {
            Platform::Klaviyo => {
                let own = &simulated.klaviyo;
                (self.klaviyo.clone(), "", &own.api_key, Some(own.webhook_secret.0.clone()))
            }
            Platform::Eventbrite => {
                let own = &simulated.eventbrite;
                (self.eventbrite.clone(), own.organization_id.as_str(), &own.token, None)
            }
            Platform::Patreon => {
                let own = &simulated.patreon;
                let base_url = format!("{}/api/oauth2/v2", self.patreon.trim_end_matches('/'));
                (base_url, "", &own.access_token, Some(own.webhook_secret.0.clone()))
            }
            Platform::Discord => {
                let own = &simulated.discord;
                let (name, token) = (own.application_id.as_str(), &own.bot_token);
                (self.discord.clone(), name, token, self.discord_public_key.clone())
            }
        };
        let bridged = platform == Platform::Discord;
        let notice = bridged.then(|| simulated.discord.bridge_secret.0.clone());
        Account { base_url, name: name.to_owned(), token: token.0.clone(), webhook, notice }
    }
}

/// A simulated account as a connection sees it.
struct Account {
    base_url: String,
    /// The platform's name for it.
    name: String,
    token: String,
    /// What its webhooks are checked with.
    webhook: Option<String>,
    /// What the notices of a bridge are checked with.
    notice: Option<String>,
}

/// A folder with a configuration file and the secrets that it names; gone when dropped.
#[derive(Debug)]
pub struct ConfigFolder {
    folder: TempDir,
    text: String,
}

impl ConfigFolder {
    /// - `simulated`: where the credentials come from.
    /// - `settings`: sections other than `connections`, as TOML.
    /// - `connections`: to which platforms, with the further keys of each, as TOML.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn write(
        simulated: &simulator::Config,
        addresses: &Addresses,
        settings: &str,
        connections: &[(Platform, &str)],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("syncline-").tempdir()?;
        let mut text = settings.to_owned();
        for &(platform, keys) in connections {
            let account = addresses.account(platform, simulated);
            let secrets = [
                ("token", Some(account.token.as_str())),
                ("webhook_secret", account.webhook.as_deref()),
                ("notice_secret", account.notice.as_deref()),
                ("endpoint_id", Some(endpoint(platform))),
            ];
            let Account { base_url, name, .. } = &account;
            writeln!(
                text,
                "\n[connections.\"{}\"]\naccount = \"{name}\"\nbase_url = \"{base_url}\"",
                lane(platform)
            )?;
            for (key, secret) in secrets {
                let Some(secret) = secret else { continue };
                let file = folder.path().join(format!("{}-{key}", platform.name()));
                fs::write(&file, secret)?;
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
                writeln!(text, "{key}_file = \"{}\"", file.display())?;
            }
            writeln!(text, "{keys}")?;
        }
        fs::write(folder.path().join("syncline.toml"), &text)?;
        Ok(Self { folder, text })
    }

    /// Where the file is, for `--config`.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("syncline.toml")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder where it is when this is dropped.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// The settings as a process reads them, with these variables as its environment.
    ///
    /// # Errors
    ///
    /// When they make no sense.
    pub fn config(&self, environment: &[(&str, &str)]) -> anyhow::Result<Config> {
        let environment: BTreeMap<String, String> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from_parts(Some(("syncline.toml", &self.text)), &environment)
            .context("the configuration of this fleet")
    }
}
