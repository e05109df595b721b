//! The settings of all processes: defaults, overridden by a file, overridden by the environment,
//! checked as a whole.
//!
//! Only binaries read it; everything else takes values.

mod address;
mod api;
mod connection;
mod console;
mod credentials;
mod duration;
mod error;
mod ingress;
mod layers;
mod oauth;
mod postgres;
mod redis;
mod scheduler;
mod secret;
mod telemetry;
mod tree;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use api::ApiConfig;
pub use connection::{ConnectionConfig, QuotaConfig, ScanMode, ScheduleConfig};
pub use console::ConsoleConfig;
pub use credentials::CredentialsConfig;
pub use error::{ConfigError, Problem, Problems};
pub use ingress::IngressConfig;
pub use oauth::{OAuthConfig, OAuthSecrets};
pub use postgres::PostgresConfig;
pub use redis::{BadRedis, RedisConfig};
pub use scheduler::SchedulerConfig;
pub use secret::Secrets;
pub use telemetry::{LogFormat, TelemetryConfig};
pub use worker::WorkerConfig;

use crate::ids::Lane;

/// Every setting with its default, as text; the file to start one's own from.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// The variable that names the configuration file, where no argument does.
pub const FILE_VARIABLE: &str = "SYNCLINE_CONFIG";

/// Who has not seen by then that a process leaves does not look.
const LEAVE_MAX: Duration = Duration::from_mins(1);

/// All settings. Serializes with its secrets left empty.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The index of what waits.
    pub redis: RedisConfig,
    /// Where the truth is kept.
    pub postgres: PostgresConfig,
    /// What secrets in Postgres are sealed under.
    pub credentials: CredentialsConfig,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// How platforms are asked.
    pub api: ApiConfig,
    /// The receiver of webhooks.
    pub ingress: IngressConfig,
    /// The pool that works.
    pub worker: WorkerConfig,
    /// What decides what to look at.
    pub scheduler: SchedulerConfig,
    /// The operators' pages.
    pub console: ConsoleConfig,
    /// The accounts to mirror.
    pub connections: BTreeMap<Lane, ConnectionConfig>,
}

impl Config {
    /// Reads the settings of this process.
    ///
    /// - `file`: from the command line; `None` looks at `SYNCLINE_CONFIG`, and without that there
    ///   is no file.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, is not TOML, or any setting is unknown or makes no sense; then
    /// the error names every such setting at once.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = layers::environment()?;
        let file = file.map(Path::to_owned).or_else(|| {
            environment.get(FILE_VARIABLE).filter(|f| !f.is_empty()).map(PathBuf::from)
        });
        match file {
            None => Self::from_parts(None, &environment),
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
                Self::from_parts(Some((&path.display().to_string(), &text)), &environment)
            }
        }
    }

    /// The settings that follow from a file's name and text and from environment variables.
    ///
    /// Reads nothing but the files that `redis.url_file`, `postgres.url_file` and
    /// `console.token_file` name. Variables that do not begin with `SYNCLINE__` are ignored, apart
    /// from `REDIS_URL` and `DATABASE_URL`.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn from_parts(
        file: Option<(&str, &str)>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let layered = layers::Layered::new(file, environment, &mut problems)?;
        let config: Option<Self> = layered.read(&mut problems);
        if let Some(config) = &config {
            config.check(&mut problems);
        }
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid(layered.explain(problems))),
        }
    }

    fn check(&self, problems: &mut Problems) {
        let Self { redis, postgres, credentials, telemetry, api, .. } = self;
        let Self { ingress, worker, scheduler, console, .. } = self;
        redis.check(problems);
        postgres.check(problems);
        credentials.check(problems);
        telemetry.check(problems);
        api.check(problems);
        ingress.check(problems);
        worker.check(api, problems);
        scheduler.check(problems);
        console.check(problems);
        for (lane, connection) in &self.connections {
            connection.check(lane, problems);
        }
    }
}

#[cfg(test)]
mod tests;
