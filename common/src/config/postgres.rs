//! Where Postgres is.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{duration, error::Problems, secret};

const NO_ADDRESS: &str =
    "is no address of Postgres: write postgres://user:password@host:port/database";

/// The section `postgres`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Its address; may hold a password.
    #[serde(serialize_with = "secret::hidden")]
    pub url: SecretString,
    /// Its own address, where the other leads to a proxy that pools transactions; empty otherwise.
    #[serde(serialize_with = "secret::hidden")]
    pub direct_url: SecretString,
    /// Connections that one process holds at most, at least 2.
    pub max_connections: u32,
    /// How long a starting process keeps trying to reach it.
    #[serde(with = "duration")]
    pub wait: Duration,
}

impl PostgresConfig {
    /// The address that leads to Postgres itself: for migrations and for the leader's lock.
    pub fn direct(&self) -> &SecretString {
        if self.direct_url.expose_secret().is_empty() { &self.url } else { &self.direct_url }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let url = self.url.expose_secret();
        let what = if url.is_empty() {
            "is not set: set SYNCLINE__POSTGRES__URL or DATABASE_URL to postgres://user:password@host:port/database"
        } else {
            NO_ADDRESS
        };
        problems.require(is_address(url), "postgres.url", what);
        let direct = self.direct_url.expose_secret();
        problems.require(
            direct.is_empty() || is_address(direct),
            "postgres.direct_url",
            NO_ADDRESS,
        );
        problems.require(
            (2..=1000).contains(&self.max_connections),
            "postgres.max_connections",
            "must be 2 to 1000: one may be waiting while another commits",
        );
    }
}

fn is_address(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"))
}
