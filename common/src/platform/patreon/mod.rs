//! Patreon: the campaigns of one creator, their members and their tiers, by its API v2.
//!
//! Left out, and why:
//!
//! - Posts, and webhooks about them: they are no records of ours.
//! - Creating webhooks: a new one would have another secret. They are watched and unpaused.
//! - `pledge_history`: only the list of members can include it, so a member that is read by its id
//!   would look different. Its upgrades and downgrades are said to have gaps, too.
//! - `address`: needs a scope of its own, and what is in an address is not part of a member.
//! - `goals`: deprecated and always empty.
//! - A scan of changes: there is no filter by time and no documented order.
//! - Conditional requests: nothing is documented.
//! - A batch of members by id: there is no filter; a page of the list is the cheapest look at many.
//! - The dip at the start of a month, when an entitlement is said to be gone until the charge has
//!   gone through: that is what the platform has then, and so what the mirror shows.

mod cursor;
mod document;
mod errors;
mod limits;
mod look;
mod records;
mod scan;
mod sender;
#[cfg(test)]
mod tests;
mod webhook;

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::ExternalId;
use crate::platform::api::Dialect;
use crate::platform::{
    Account, Call, ClientAuth, Consistency, Endpoint, ErrorBudget, Gap, Look, Notice,
    OAuthEndpoint, Page, Platform, PlatformError, RecordKind, Refused, Repair, ScanFrom, Sender,
    WebhookRequest,
};
use crate::quota::LaneLimits;

/// The adapter. It knows nothing between two calls.
pub(super) struct Patreon;

/// A request without a `User-Agent` may be dropped with a 403; every request of ours has one.
pub(super) const DIALECT: Dialect = Dialect {
    scheme: "Bearer",
    headers: &[("accept", "application/json")],
    user_agent: None,
    body_type: "application/json",
    signal: limits::signal,
    body_signal: limits::body_signal,
    counts_to_ban: limits::counts_to_ban,
};

#[async_trait]
impl Platform for Patreon {
    fn name(&self) -> &'static str {
        "patreon"
    }

    fn records(&self) -> &'static [RecordKind] {
        &records::KINDS
    }

    fn base_url(&self) -> &'static str {
        "https://www.patreon.com/api/oauth2/v2"
    }

    /// Each renewal gives a new refresh token and ends the old one.
    fn oauth(&self) -> Option<OAuthEndpoint> {
        let url = "https://www.patreon.com/api/oauth2/token";
        Some(OAuthEndpoint { url, client: ClientAuth::Form })
    }

    fn limits(&self) -> LaneLimits {
        limits::defaults()
    }

    fn client_quota(&self) -> Option<&'static str> {
        Some(limits::CLIENT)
    }

    fn error_budget(&self) -> Option<ErrorBudget> {
        Some(limits::BAN)
    }

    /// Nothing is known of reads that lag.
    fn consistency(&self) -> Consistency {
        Consistency { confirm_after: Vec::new(), young: Duration::ZERO }
    }

    fn receive(
        &self,
        account: &Account,
        request: &WebhookRequest<'_>,
    ) -> Result<Vec<Notice>, Refused> {
        webhook::receive(account, request)
    }

    fn gap(&self) -> Gap {
        sender::GAP
    }

    async fn sender(&self, call: &Call<'_>, endpoint: &Endpoint) -> Result<Sender, PlatformError> {
        sender::look(call, endpoint).await
    }

    async fn repair_sender(
        &self,
        call: &Call<'_>,
        _endpoint: &Endpoint,
        found: &Sender,
    ) -> Result<Repair, PlatformError> {
        sender::repair(call, found).await
    }

    async fn look(
        &self,
        call: &Call<'_>,
        kind: &RecordKind,
        ids: &[ExternalId],
    ) -> Result<Vec<Look>, PlatformError> {
        look::records(call, kind, ids).await
    }

    async fn scan(
        &self,
        call: &Call<'_>,
        kind: &RecordKind,
        from: &ScanFrom,
    ) -> Result<Page, PlatformError> {
        scan::records(call, kind, from).await
    }
}

/// Reads an answer as if it were of any kind; for fuzzing.
#[cfg(fuzzing)]
pub(super) fn read_anything(answer: &super::answer::Answer) {
    let _meaning = errors::meaning(answer);
    limits::body_signal(answer, &mut crate::quota::RateSignal::default());
    let Ok(list) = answer.json::<document::Many<'_>>() else { return };
    let _next =
        cursor::Progress::default().after(&std::collections::BTreeSet::new(), &list.pagination());
    for kind in &records::KINDS {
        for payload in &list.data {
            drop(document::read(kind, payload));
            drop(document::read_tiers(kind, payload, &list.included));
        }
    }
}
