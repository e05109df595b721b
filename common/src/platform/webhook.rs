//! Webhooks as they come in.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;

use crate::ids::{ExternalId, RecordType};

/// The bytes as they came.
#[derive(Clone, Copy, Debug)]
pub struct WebhookRequest<'a> {
    /// Header names are case-insensitive.
    pub headers: &'a HeaderMap,
    /// The raw body, over which signatures are made.
    pub body: &'a [u8],
}

impl<'a> WebhookRequest<'a> {
    /// A header that must be there exactly once.
    pub(super) fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.as_bytes()),
            _ => None,
        }
    }
}

/// A hint that a record is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Notice {
    /// Its kind.
    pub record_type: RecordType,
    /// Its id.
    pub external_id: ExternalId,
}

/// The time that a platform has signed with a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedAt {
    /// By the platform's clock.
    pub at: Timestamp,
    /// For how long it may go on sending the same.
    pub sent_for: Duration,
}

/// How a platform wants a webhook answered that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// 202: written down, not yet done.
    Accepted,
    /// 204 with a `Content-Type` and no body.
    NoContent,
}

/// Why a webhook is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Not the platform's own, as far as we can tell.
    #[error("the signature does not match: {0}")]
    Forged(&'static str),
    /// Not signed by the platform, and of the kind that it sends itself to see whether we check.
    #[error("the signature does not match, as in the platform's own test of us")]
    Probe,
    /// The signature is right (or the platform has none), the body is not one we understand.
    #[error("the body is not understood: {0}")]
    NotUnderstood(String),
}
