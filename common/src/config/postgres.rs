//! Where Postgres is.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{duration, error::Problems, secret};

/// The section `postgres`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Its address; may hold a password.
    #[serde(serialize_with = "secret::hidden")]
    pub url: SecretString,
    /// Connections that one process holds at most, at least 2.
    pub max_connections: u32,
    /// How long a starting process keeps trying to reach it.
    #[serde(with = "duration")]
    pub wait: Duration,
}

impl PostgresConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        let scheme = Url::parse(self.url.expose_secret()).map(|url| url.scheme().to_owned());
        let what = match scheme.as_deref() {
            _ if self.url.expose_secret().is_empty() => {
                "is not set: set SYNCLINE__POSTGRES__URL or DATABASE_URL to postgres://user:password@host:port/database"
            }
            Ok("postgres" | "postgresql") => "",
            _ => "is no address of Postgres: write postgres://user:password@host:port/database",
        };
        problems.require(what.is_empty(), "postgres.url", what);
        problems.require(
            (2..=1000).contains(&self.max_connections),
            "postgres.max_connections",
            "must be 2 to 1000: one may be waiting while another commits",
        );
    }
}
