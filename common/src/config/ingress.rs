//! The receiver of webhooks.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::{ParseError, Url};

use super::address::{keeps_a_secret, listen};
use super::{LEAVE_MAX, duration, error::Problems};

/// The section `ingress`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IngressConfig {
    /// Where it listens.
    #[serde(with = "listen")]
    pub listen: SocketAddr,
    /// What stands before `/webhooks/...` in the addresses that platforms call; empty where it is
    /// not told.
    pub public_url: String,
    /// The largest webhook that is taken, in bytes.
    pub body_limit_bytes: usize,
    /// From the first byte of a webhook to our answer.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// Webhooks handled at once.
    pub max_in_flight: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// How long the headers of a request may take, and a connection stand idle.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// For all bodies that are being read, in bytes.
    pub body_memory_bytes: usize,
    /// How long it goes on after SIGTERM while it says that it is not ready.
    #[serde(with = "duration")]
    pub leave: Duration,
    /// How long open requests may take to end after that.
    #[serde(with = "duration")]
    pub drain: Duration,
}

impl IngressConfig {
    /// What stands before `/webhooks/...` in the addresses that platforms call, where it is told.
    ///
    /// # Errors
    ///
    /// None in practice: it is checked with all else.
    pub fn public_url(&self) -> Result<Option<Url>, ParseError> {
        Some(self.public_url.as_str()).filter(|url| !url.is_empty()).map(Url::parse).transpose()
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.require(
            self.public_url().is_ok_and(|url| url.as_ref().is_none_or(keeps_a_secret)),
            "ingress.public_url",
            "must be https:// (or http:// to a loopback address), without user, query and fragment: a secret path follows",
        );
        problems.require(
            (1024..=64 * 1024 * 1024).contains(&self.body_limit_bytes),
            "ingress.body_limit_bytes",
            "must be 1024 to 67108864 (64 MiB)",
        );
        problems.require(
            !self.request_timeout.is_zero() && self.request_timeout <= self.drain,
            "ingress.request_timeout",
            "must be above zero and at most ingress.drain, or a stop cuts requests off",
        );
        problems.require(
            (1..=65_536).contains(&self.max_in_flight),
            "ingress.max_in_flight",
            "must be 1 to 65536",
        );
        problems.require(
            (1..=65_536).contains(&self.max_connections),
            "ingress.max_connections",
            "must be 1 to 65536",
        );
        problems.require(
            (Duration::from_millis(100)..=Duration::from_mins(1)).contains(&self.header_timeout),
            "ingress.header_timeout",
            "must be 100ms to 1m",
        );
        problems.require(self.leave <= LEAVE_MAX, "ingress.leave", "must be at most 1m");
        problems.require(
            self.body_memory_bytes >= self.body_limit_bytes,
            "ingress.body_memory_bytes",
            "must be at least ingress.body_limit_bytes, or the largest webhook is never taken",
        );
    }
}
