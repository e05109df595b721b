//! A configuration for a fleet in front of simulated platforms: a folder with a file and secrets.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use common::config::Config;
use tempfile::TempDir;

/// The unguessable part of Klaviyo's webhook address here.
pub const KLAVIYO_ENDPOINT: &str = "klaviyo-0123456789abcdef0123456789abcdef";
/// The same of Eventbrite's.
pub const EVENTBRITE_ENDPOINT: &str = "eventbrite-0123456789abcdef0123456789abcdef";
/// The lane of the simulated Klaviyo account.
pub const KLAVIYO: &str = "klaviyo/main";
/// The lane of the simulated Eventbrite account.
pub const EVENTBRITE: &str = "eventbrite/main";

/// What a simulated platform needs to be known by.
#[derive(Clone, Debug)]
pub struct Platforms {
    /// Where Klaviyo's API is.
    pub klaviyo_url: String,
    /// Where Eventbrite's is.
    pub eventbrite_url: String,
    /// Credentials as the simulator has them: (file name, content).
    pub secrets: Vec<(&'static str, String)>,
    /// Eventbrite's name for the account.
    pub organization: String,
}

impl Platforms {
    /// The credentials of a simulator's configuration.
    pub fn of(config: &simulator::Config, klaviyo_url: &str, eventbrite_url: &str) -> Self {
        Self {
            klaviyo_url: klaviyo_url.to_owned(),
            eventbrite_url: eventbrite_url.to_owned(),
            secrets: vec![
                ("klaviyo-token", config.klaviyo.api_key.0.clone()),
                ("klaviyo-webhook", config.klaviyo.webhook_secret.0.clone()),
                ("klaviyo-endpoint", KLAVIYO_ENDPOINT.to_owned()),
                ("eventbrite-token", config.eventbrite.token.0.clone()),
                ("eventbrite-endpoint", EVENTBRITE_ENDPOINT.to_owned()),
            ],
            organization: config.eventbrite.organization_id.clone(),
        }
    }
}

/// A folder with a configuration file and the secrets that it names; gone when dropped.
#[derive(Debug)]
pub struct ConfigFolder {
    folder: TempDir,
    text: String,
}

impl ConfigFolder {
    /// - `settings`: sections other than `connections`, as TOML.
    /// - `klaviyo`, `eventbrite`: further keys of the two connections, as TOML.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn write(
        platforms: &Platforms,
        settings: &str,
        klaviyo: &str,
        eventbrite: &str,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("syncline-").tempdir()?;
        for (name, secret) in &platforms.secrets {
            let file = folder.path().join(name);
            fs::write(&file, secret)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        }
        let place = folder.path().display();
        let Platforms { klaviyo_url, eventbrite_url, organization, .. } = platforms;
        let text = format!(
            r#"{settings}
[connections."{KLAVIYO}"]
base_url = "{klaviyo_url}"
token_file = "{place}/klaviyo-token"
webhook_secret_file = "{place}/klaviyo-webhook"
endpoint_id_file = "{place}/klaviyo-endpoint"
{klaviyo}

[connections."{EVENTBRITE}"]
account = "{organization}"
base_url = "{eventbrite_url}"
token_file = "{place}/eventbrite-token"
endpoint_id_file = "{place}/eventbrite-endpoint"
{eventbrite}
"#
        );
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
