//! Webhooks as they come in.

use http::HeaderMap;

use crate::ids::{ExternalId, RecordType};

/// The bytes as they came.
#[derive(Clone, Copy, Debug)]
pub struct WebhookRequest<'a> {
    /// Header names are case-insensitive.
    pub headers: &'a HeaderMap,
    /// The raw body, over which signatures are made.
    pub body: &'a [u8],
}

/// A hint that a record is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Notice {
    /// Its kind.
    pub record_type: RecordType,
    /// Its id.
    pub external_id: ExternalId,
}

/// Why a webhook is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Not the platform's own, as far as we can tell.
    #[error("the signature does not match: {0}")]
    Forged(&'static str),
    /// The signature is right (or the platform has none), the body is not one we understand.
    #[error("the body is not understood: {0}")]
    NotUnderstood(String),
}
