//! The operators' pages.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{LEAVE_MAX, address::listen, duration, error::Problems, secret};

/// Shorter ones can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// The section `console`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Where it listens.
    #[serde(with = "listen")]
    pub listen: SocketAddr,
    /// How often pages refresh themselves.
    #[serde(with = "duration")]
    pub refresh: Duration,
    /// How long it goes on after SIGTERM while it says that it is not ready.
    #[serde(with = "duration")]
    pub leave: Duration,
    /// What a browser must know; empty for none. Use [`ConsoleConfig::token`].
    #[serde(serialize_with = "secret::hidden")]
    token: SecretString,
}

impl ConsoleConfig {
    /// What a browser must know; `None` only on a loopback address.
    pub fn token(&self) -> Option<&SecretString> {
        (!self.token.expose_secret().is_empty()).then_some(&self.token)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.require(
            self.token().is_some() || self.listen.ip().is_loopback(),
            "console.listen",
            "is reachable from outside and there is no token: set SYNCLINE__CONSOLE__TOKEN or console.token_file, or listen on 127.0.0.1",
        );
        problems.require(
            self.token().is_none_or(|token| token.expose_secret().len() >= SHORTEST_TOKEN),
            "console.token",
            "is shorter than 16 characters: make one with openssl rand -hex 24",
        );
        problems.require(
            self.refresh >= Duration::from_millis(250),
            "console.refresh",
            "must be at least 250ms",
        );
        problems.require(self.leave <= LEAVE_MAX, "console.leave", "must be at most 1m");
    }
}
