//! Where Redis is.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{duration, error::Problems, secret};

/// The section `redis`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Its address; may hold a password.
    #[serde(serialize_with = "secret::hidden")]
    pub url: SecretString,
    /// What all keys begin with; empty where this fleet has the database to itself.
    pub namespace: String,
    /// How long a starting process keeps trying to reach it.
    #[serde(with = "duration")]
    pub wait: Duration,
}

impl RedisConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        let scheme = Url::parse(self.url.expose_secret()).map(|url| url.scheme().to_owned());
        let what = match scheme.as_deref() {
            _ if self.url.expose_secret().is_empty() => {
                "is not set: set SYNCLINE__REDIS__URL or REDIS_URL to redis://host:port"
            }
            Ok("redis" | "valkey" | "unix" | "redis+unix" | "valkey+unix") => "",
            Ok("rediss" | "valkeys") => {
                "asks for TLS, which this build lacks: use redis:// inside a private network"
            }
            _ => "is no address of Redis: write redis://host:port or unix:///path/to/socket",
        };
        problems.require(what.is_empty(), "redis.url", what);
        problems.require(
            self.namespace.len() <= 64
                && self.namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "redis.namespace",
            "must be at most 64 letters, digits and -",
        );
    }
}
