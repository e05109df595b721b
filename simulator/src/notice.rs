//! What is told about a record, and what became of that.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Config;
use crate::hook::{Channel, Hook};
use crate::record::RecordId;
use crate::{discord, eventbrite, klaviyo, patreon};

/// Something happened to a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Notice {
    pub(crate) id: RecordId,
    /// The platform's name for what happened.
    pub(crate) action: &'static str,
    /// The event that the record belongs to (Eventbrite).
    pub(crate) event: Option<Arc<str>>,
    /// What the webhook shows of the record, as JSON; empty where it only points.
    pub(crate) payload: Arc<str>,
}

/// A notice under way to one webhook, with the id by which Klaviyo tells its events apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dispatch {
    pub(crate) hook: Arc<str>,
    pub(crate) notice: Notice,
    pub(crate) event_id: String,
    pub(crate) at: Timestamp,
}

/// A request that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// What became of the notices, in counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeliveryStats {
    /// Changes for which the platform has no webhook (deletions, the clock).
    pub without_webhook: u64,
    /// Changes that stayed silent by the configured share.
    pub silent: u64,
    /// Notices due to be sent, lost ones included and second copies not.
    pub notices: u64,
    /// Notices lost on purpose.
    pub lost: u64,
    /// Notices sent twice.
    pub duplicated: u64,
    /// Notices, second copies included, that were accepted by the target.
    pub arrived: u64,
    /// Notices given up after the last attempt.
    pub abandoned: u64,
    /// Notices dropped because nobody listens or the webhook is disabled.
    pub dropped: u64,
    /// HTTP requests that were accepted.
    pub deliveries: u64,
    /// HTTP requests in all, probes not counted.
    pub attempts: u64,
    /// Of these, not the first for their delivery.
    pub retries: u64,
    /// Answers by class.
    pub answered_2xx: u64,
    /// Answers by class.
    pub answered_3xx: u64,
    /// Answers by class.
    pub answered_4xx: u64,
    /// Answers by class.
    pub answered_5xx: u64,
    /// No connection, no answer in time, or a broken one.
    pub unanswered: u64,
    /// Requests with a wrong signature (Discord).
    pub probes: u64,
    /// Of these, not refused with 401.
    pub probes_passed: u64,
    /// Notices that wait or are under way now.
    pub pending: u64,
    /// Notices kept for a paused webhook now (Patreon).
    pub held: u64,
    /// False once the account's own webhook is switched off.
    pub enabled: bool,
}

/// The request that carries these notices to a webhook, dated and signed at `at`.
pub(crate) fn delivery(
    config: &Config,
    hook: &Hook,
    batch: &[Dispatch],
    at: Timestamp,
) -> Option<Delivery> {
    let first = batch.first()?;
    match hook.channel {
        Channel::Klaviyo => Some(klaviyo::notice::delivery(&config.klaviyo, hook, batch, at)),
        Channel::Eventbrite => eventbrite::notice::delivery(&config.eventbrite, hook, first),
        Channel::Patreon => Some(patreon::notice::delivery(hook, first)),
        Channel::DiscordEvents => discord::notice::event(&config.discord, first, at),
        Channel::DiscordBridge => Some(discord::notice::bridge(hook, batch, at)),
    }
}

/// Whether two notices can share a delivery.
pub(crate) fn fit_together(channel: Channel, a: &Dispatch, b: &Dispatch) -> bool {
    let kind = |dispatch: &Dispatch| dispatch.notice.id.record_type;
    a.hook == b.hook && (channel != Channel::DiscordBridge || kind(a) == kind(b))
}
