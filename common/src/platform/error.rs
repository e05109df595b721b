//! Why a call to a platform failed, sorted by what can be done about it.

use std::time::Duration;

use crate::quota::QuotaError;

/// Why a call to a platform failed, by meaning and not by status code.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The platform refused because of its limits (429). The lane is frozen already.
    #[error("the platform asked us to wait {retry_after:?}")]
    Throttled {
        /// Time until it will answer again.
        retry_after: Duration,
    },
    /// No permit in time: nothing was sent.
    #[error("no permit")]
    NoPermit(#[source] QuotaError),
    /// The token is being renewed, or cannot be for now: nothing was sent.
    #[error("no token: {what}")]
    NoToken {
        /// Why, without secrets.
        what: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The credentials are not accepted; retrying cannot help and hammers.
    #[error("access was refused: {reason}")]
    Unauthorized {
        /// The platform's error code.
        reason: String,
    },
    /// Everything this connection asks is refused until somebody acts (a retired API revision).
    #[error("the platform no longer serves us: {reason}")]
    Retired {
        /// The platform's error code.
        reason: String,
    },
    /// The scan's cursor is no longer known: start again from the watermark.
    #[error("the scan's cursor is lost")]
    CursorLost,
    /// Our request is wrong, or the answer is not what the documents say; a bug here or a change
    /// there. The same request will fail again.
    #[error("unexpected answer: {what}")]
    Unexpected {
        /// What was unexpected, without bodies or secrets.
        what: String,
    },
    /// The platform or the network failed for now (5xx, time-out, reset, garbage).
    #[error("the platform did not answer properly: {what}")]
    Transient {
        /// What happened, without bodies or secrets.
        what: String,
        /// When the platform asked us to come back, if it did.
        retry_after: Option<Duration>,
    },
}

impl PlatformError {
    /// Its name in metrics and spans (`error.type`).
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::NoPermit(_) => "no_permit",
            Self::NoToken { .. } => "no_token",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Retired { .. } => "retired",
            Self::CursorLost => "cursor_lost",
            Self::Unexpected { .. } => "unexpected",
            Self::Transient { .. } => "transient",
        }
    }
}
