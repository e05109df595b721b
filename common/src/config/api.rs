//! How platforms are asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{duration, error::Problems};

/// The section `api`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// To open a connection.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// The longest silence inside an answer.
    #[serde(with = "duration")]
    pub read_timeout: Duration,
    /// From the first byte sent to the last byte received.
    #[serde(with = "duration")]
    pub whole_timeout: Duration,
    /// The largest answer that is read, in bytes.
    pub max_body_bytes: usize,
    /// Where a platform learns who runs this; empty for nowhere.
    pub contact: String,
}

impl ApiConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.require(
            !self.connect_timeout.is_zero() && self.connect_timeout <= self.whole_timeout,
            "api.connect_timeout",
            "must be above zero and at most api.whole_timeout",
        );
        problems.require(
            !self.read_timeout.is_zero() && self.read_timeout <= self.whole_timeout,
            "api.read_timeout",
            "must be above zero and at most api.whole_timeout",
        );
        problems.require(
            (64 * 1024..=256 * 1024 * 1024).contains(&self.max_body_bytes),
            "api.max_body_bytes",
            "must be 65536 (64 KiB) to 268435456 (256 MiB)",
        );
        problems.require(
            self.contact.is_empty() || is_web_address(&self.contact),
            "api.contact",
            "must be empty or the https:// address of a page that says who runs this: it stands in the User-Agent",
        );
    }
}

/// Whether it can stand in a `User-Agent`: no space, comma or bracket would end it early.
fn is_web_address(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'(' | b')'));
    plain && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}
