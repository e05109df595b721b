//! How Redis is run, and where it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{ClientTlsConfig, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{duration, error::Problems, secret};
use crate::link::{Address, BadAddress, MOST_SHARDS};

/// The section `redis`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Its address; may hold a password.
    #[serde(serialize_with = "secret::hidden")]
    pub url: SecretString,
    /// The authorities whose certificates are believed, as PEM; empty for those of the system.
    pub ca_file: PathBuf,
    /// Our certificate, as PEM; empty for none.
    pub cert_file: PathBuf,
    /// The key of our certificate, as PEM; empty for none.
    pub key_file: PathBuf,
    /// What all keys begin with; empty where this fleet has the database to itself.
    pub namespace: String,
    /// Parts of the index that may lie on different nodes of a cluster.
    pub shards: u16,
    /// How long a starting process keeps trying to reach it.
    #[serde(with = "duration")]
    pub wait: Duration,
}

/// Why Redis cannot be reached as configured. Begins with the key of the setting.
#[derive(Debug, thiserror::Error)]
pub enum BadRedis {
    /// No address.
    #[error("redis.url: {0}")]
    Address(#[from] BadAddress),
    /// No file.
    #[error("redis.{key}: {} cannot be read ({source}): check path and owner", path.display())]
    Unreadable {
        /// The setting.
        key: &'static str,
        /// As configured.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No certificate.
    #[error("redis.ca_file, redis.cert_file or redis.key_file holds no PEM of its kind: {0}")]
    NoPem(String),
}

impl RedisConfig {
    /// The address with the certificates that belong to it; reads their files.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read or used.
    pub fn address(&self) -> Result<Address, BadRedis> {
        let address: Address = self.url.expose_secret().parse()?;
        let Self { ca_file, cert_file, key_file, .. } = self;
        if [ca_file, cert_file].iter().all(|file| file.as_os_str().is_empty()) {
            return Ok(address);
        }
        let client_tls = match (read("cert_file", cert_file)?, read("key_file", key_file)?) {
            (Some(client_cert), Some(client_key)) => {
                Some(ClientTlsConfig { client_cert, client_key })
            }
            _ => None,
        };
        let certificates = TlsCertificates { client_tls, root_cert: read("ca_file", ca_file)? };
        address.with_certificates(&certificates).map_err(|error| BadRedis::NoPem(error.to_string()))
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let url = self.url.expose_secret();
        if url.is_empty() {
            problems.add(
                "redis.url",
                "is not set: set SYNCLINE__REDIS__URL or REDIS_URL to redis://host:port",
            );
        } else {
            match url.parse::<Address>() {
                Ok(address) => self.check_files(&address, problems),
                Err(error) => problems.add("redis.url", error.to_string()),
            }
        }
        problems.require(
            self.namespace.len() <= 64
                && self.namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "redis.namespace",
            "must be at most 64 letters, digits and -",
        );
        problems.require(
            (1..=MOST_SHARDS).contains(&self.shards),
            "redis.shards",
            "must be 1 to 64: 1, or a few for each node of a cluster",
        );
    }

    fn check_files(&self, address: &Address, problems: &mut Problems) {
        let set = |file: &Path| !file.as_os_str().is_empty();
        for (key, file) in [
            ("redis.ca_file", &self.ca_file),
            ("redis.cert_file", &self.cert_file),
            ("redis.key_file", &self.key_file),
        ] {
            let what = "is of use with TLS only: write rediss:// in redis.url, or leave it out";
            problems.require(!set(file) || address.is_secure(), key, what);
        }
        let what = "certificate and key belong together: set both, or none";
        problems.require(
            set(&self.cert_file) == set(&self.key_file),
            if set(&self.cert_file) { "redis.key_file" } else { "redis.cert_file" },
            what,
        );
    }
}

/// A file that a setting names; `None` when it names none.
fn read(key: &'static str, path: &Path) -> Result<Option<Vec<u8>>, BadRedis> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) => Err(BadRedis::Unreadable { key, path: path.to_owned(), source }),
    }
}
