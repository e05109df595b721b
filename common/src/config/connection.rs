//! One account on a platform.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::Url;

use super::address::{keeps_a_secret, optional_url};
use super::duration;
use super::error::{ConfigError, Problems};
use super::oauth::OAuthConfig;
use super::secret::{self, Secrets};
use crate::freshness::WeightRule;
use crate::ids::{Lane, RecordType};
use crate::quota::Quota;

/// Shorter ones could be guessed.
const SHORTEST_ENDPOINT_ID: usize = 24;

/// A table `connections."<platform>/<name>"`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionConfig {
    /// What the platform calls the account; empty where it needs no name.
    #[serde(default)]
    pub account: String,
    /// The file that holds the API key or access token.
    pub token_file: Option<PathBuf>,
    /// The variable that holds it.
    pub token_env: Option<String>,
    /// The file that holds what the platform signs its webhooks with.
    pub webhook_secret_file: Option<PathBuf>,
    /// The variable that holds it.
    pub webhook_secret_env: Option<String>,
    /// The file that holds what a bridge signs its notices with.
    pub notice_secret_file: Option<PathBuf>,
    /// The variable that holds it.
    pub notice_secret_env: Option<String>,
    /// The file that holds the last part of the webhook's address.
    pub endpoint_id_file: Option<PathBuf>,
    /// The variable that holds it.
    pub endpoint_id_env: Option<String>,
    /// How its tokens are renewed, where they do not last.
    pub oauth: Option<OAuthConfig>,
    /// Where the API lives, if not where the platform says.
    #[serde(default, with = "optional_url")]
    pub base_url: Option<Url>,
    /// Quotas by name, instead of the platform's.
    #[serde(default)]
    pub quotas: BTreeMap<String, QuotaConfig>,
    /// Look again this long after a webhook, instead of the platform's times.
    #[serde(default, with = "duration::list")]
    pub confirm_after: Option<Vec<Duration>>,
    /// A missing record is not judged before this age, instead of the platform's.
    #[serde(default, with = "duration::optional")]
    pub young: Option<Duration>,
    /// What a record's freshness is worth, by record type.
    #[serde(default)]
    pub weights: BTreeMap<RecordType, WeightRule>,
    /// Recurring scans.
    #[serde(default)]
    pub schedules: Vec<ScheduleConfig>,
}

/// A quota, as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaConfig {
    /// Requests per window.
    pub limit: u32,
    /// Length of the window.
    #[serde(with = "duration")]
    pub window: Duration,
    /// Capacity of the bucket; a tenth of the limit where it is left out.
    pub burst: Option<u32>,
    /// Tokens that bulk work and spot checks leave; a fifth of the burst where it is left out.
    pub headroom: Option<u32>,
}

impl QuotaConfig {
    /// The quota of this name.
    pub fn quota(&self, name: &str) -> Quota {
        let usual = Quota::new(name, self.limit, self.window);
        let burst = self.burst.unwrap_or(usual.burst);
        Quota { burst, headroom: self.headroom.unwrap_or(burst / 5), ..usual }
    }
}

/// A recurring scan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// What is scanned.
    pub record_type: RecordType,
    /// All of it, or what changed.
    pub mode: ScanMode,
    /// When, as a cron expression of five fields, in UTC.
    pub cron: String,
}

/// How much a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum ScanMode {
    /// Every record; finds deletions too.
    Full,
    /// What changed since the last scan.
    Changes,
}

impl ScanMode {
    /// Its name in configuration, tables and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Changes => "changes",
        }
    }
}

impl TryFrom<String> for ScanMode {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        match name.as_str() {
            "full" => Ok(Self::Full),
            "changes" => Ok(Self::Changes),
            _ => Err("is no mode of a scan: write full or changes"),
        }
    }
}

impl ConnectionConfig {
    /// Reads the connection's secrets from their files and variables. A warning is logged for a
    /// file that everybody may read.
    ///
    /// # Errors
    ///
    /// When one is configured and cannot be read, is empty, or is an endpoint id that could be
    /// guessed. The errors name keys under `connections.<lane>` and never a value.
    pub fn secrets(&self, lane: &Lane) -> Result<Secrets, ConfigError> {
        let mut problems = Problems::default();
        let key = |name: &str| format!("connections.{lane}.{name}");
        let token = secret::read(
            &key("token"),
            self.token_file.as_deref(),
            self.token_env.as_deref(),
            &mut problems,
        );
        let webhook_secret = secret::read(
            &key("webhook_secret"),
            self.webhook_secret_file.as_deref(),
            self.webhook_secret_env.as_deref(),
            &mut problems,
        );
        let notice_secret = secret::read(
            &key("notice_secret"),
            self.notice_secret_file.as_deref(),
            self.notice_secret_env.as_deref(),
            &mut problems,
        );
        if notice_secret.as_ref().is_some_and(secret::is_short) {
            problems.add(key("notice_secret"), secret::TOO_SHORT);
        }
        let endpoint_id = secret::read(
            &key("endpoint_id"),
            self.endpoint_id_file.as_deref(),
            self.endpoint_id_env.as_deref(),
            &mut problems,
        );
        let guessable = |id: &str| {
            id.len() < SHORTEST_ENDPOINT_ID
                || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if endpoint_id.as_ref().is_some_and(|id| guessable(id.expose_secret())) {
            problems.add(
                key("endpoint_id"),
                "must be at least 24 letters, digits, - or _: make one with openssl rand -hex 24",
            );
        }
        let oauth =
            self.oauth.as_ref().and_then(|oauth| oauth.secrets(&key("oauth"), &mut problems));
        if problems.is_empty() {
            Ok(Secrets { token, oauth, webhook_secret, notice_secret, endpoint_id })
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    /// The settings of a connection whose secrets are not here but in Postgres.
    ///
    /// - `text`: what would stand in its table, as TOML.
    ///
    /// # Errors
    ///
    /// When it is no TOML, names a secret, or a setting is unknown or makes no sense.
    pub fn without_secrets(lane: &Lane, file: &str, text: &str) -> Result<Self, ConfigError> {
        let syntax = |what: String| ConfigError::Syntax { file: file.to_owned(), what };
        let read = config::Config::builder()
            .add_source(config::File::from_str(text, config::FileFormat::Toml))
            .build()
            .map_err(|_| syntax("check quotes and brackets".to_owned()))?;
        let settings: Self = read.try_deserialize().map_err(|cause| syntax(cause.to_string()))?;
        let mut problems = Problems::default();
        let sources = [
            settings.token_file.is_some() || settings.token_env.is_some(),
            settings.webhook_secret_file.is_some() || settings.webhook_secret_env.is_some(),
            settings.notice_secret_file.is_some() || settings.notice_secret_env.is_some(),
            settings.endpoint_id_file.is_some() || settings.endpoint_id_env.is_some(),
            settings.oauth.is_some(),
        ];
        if sources.contains(&true) {
            problems.add(
                format!("connections.{lane}"),
                "its secrets are kept in Postgres: take the keys that name theirs out",
            );
        }
        settings.check_settings(lane, &mut problems);
        if problems.is_empty() { Ok(settings) } else { Err(ConfigError::Invalid(problems)) }
    }

    pub(super) fn check(&self, lane: &Lane, problems: &mut Problems) {
        let key = |name: &str| format!("connections.{lane}.{name}");
        if let Some(oauth) = &self.oauth {
            oauth.check(&key("oauth"), problems);
        }
        self.check_settings(lane, problems);
        let sources = [
            ("token", self.token_file.as_ref(), self.token_env.as_ref()),
            ("webhook_secret", self.webhook_secret_file.as_ref(), self.webhook_secret_env.as_ref()),
            ("notice_secret", self.notice_secret_file.as_ref(), self.notice_secret_env.as_ref()),
            ("endpoint_id", self.endpoint_id_file.as_ref(), self.endpoint_id_env.as_ref()),
        ];
        for (name, file, variable) in sources {
            secret::check_sources(&key(name), file, variable, problems);
        }
        if self.token_file.is_none() && self.token_env.is_none() && self.oauth.is_none() {
            problems.add(
                key("token_file"),
                "is not set: name the file that holds the token, or the variable with token_env",
            );
        }
    }

    fn check_settings(&self, lane: &Lane, problems: &mut Problems) {
        let key = |name: &str| format!("connections.{lane}.{name}");
        if let Some(url) = &self.base_url {
            problems.require(keeps_a_secret(url), &key("base_url"), "must be https:// (or http:// to a loopback address), without user, query and fragment: the token is sent there");
        }
        for (name, quota) in &self.quotas {
            if let Err(invalid) = quota.quota(name).check() {
                problems.add(key(&format!("quotas.{name}")), invalid.what);
            }
        }
        for (record_type, rule) in &self.weights {
            if let Err(what) = rule.check() {
                problems.add(key(&format!("weights.{record_type}")), what);
            }
        }
        for (n, schedule) in self.schedules.iter().enumerate() {
            if let Err(error) = Cron::from_str(&schedule.cron) {
                problems.add(
                    key(&format!("schedules[{n}].cron")),
                    format!("is no cron expression ({error}): write minute hour day month weekday, like */15 * * * *"),
                );
            }
        }
    }
}
