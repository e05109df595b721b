//! Klaviyo: profiles, lists, list memberships and, as hints, events, by the API of revision
//! 2026-07-15.
//!
//! `docs/platforms/klaviyo.md` has the facts that this is made from, and what is left out and why.

mod document;
mod errors;
mod limits;
mod look;
mod membership;
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
use crate::platform::klaviyo::records::{EVENT, MEMBERSHIP};
use crate::platform::{
    Account, Call, ClientAuth, Consistency, Endpoint, Gap, Look, Notice, OAuthEndpoint, Page,
    Platform, PlatformError, RecordKind, Refused, Repair, ScanFrom, Sender, SignedAt,
    WebhookRequest,
};
use crate::quota::LaneLimits;

/// The adapter. It knows nothing between two calls.
pub(super) struct Klaviyo;

/// Without the opt-out a retired revision would quietly be answered in the shapes of a later one,
/// and every record would look changed.
pub(super) const DIALECT: Dialect = Dialect {
    scheme: "Klaviyo-API-Key",
    headers: &[
        ("accept", "application/vnd.api+json"),
        ("revision", "2026-07-15"),
        ("x-klaviyo-revision-fall-forward-opt-out", "1"),
    ],
    user_agent: None,
    body_type: "application/vnd.api+json",
    signal: limits::signal,
    body_signal: |_, _| {},
    counts_to_ban: |_, _| false,
};

#[async_trait]
impl Platform for Klaviyo {
    fn name(&self) -> &'static str {
        "klaviyo"
    }

    fn records(&self) -> &'static [RecordKind] {
        &records::KINDS
    }

    fn base_url(&self) -> &'static str {
        "https://a.klaviyo.com"
    }

    /// For applications; a private key lasts.
    ///
    /// Source: Klaviyo, "Make API calls using OAuth".
    fn oauth(&self) -> Option<OAuthEndpoint> {
        Some(OAuthEndpoint { url: "https://a.klaviyo.com/oauth/token", client: ClientAuth::Basic })
    }

    fn limits(&self) -> LaneLimits {
        limits::defaults()
    }

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

    fn signed_at(&self, request: &WebhookRequest<'_>) -> Option<SignedAt> {
        webhook::signed_at(request)
    }

    async fn look(
        &self,
        call: &Call<'_>,
        kind: &RecordKind,
        ids: &[ExternalId],
    ) -> Result<Vec<Look>, PlatformError> {
        match kind.name {
            MEMBERSHIP => membership::look(call, kind, ids).await,
            EVENT => {
                Ok(ids.iter().map(|id| Look::unclear(id, "events are not mirrored")).collect())
            }
            _ => look::records(call, kind, ids).await,
        }
    }

    async fn scan(
        &self,
        call: &Call<'_>,
        kind: &RecordKind,
        from: &ScanFrom,
    ) -> Result<Page, PlatformError> {
        match kind.name {
            MEMBERSHIP => membership::scan(call, kind, from).await,
            EVENT => scan::events(call, from).await,
            _ => scan::records(call, kind, from).await,
        }
    }
}

/// Reads an answer as whatever it may be.
#[cfg(fuzzing)]
pub(super) fn read_anything(answer: &super::answer::Answer) {
    let _meaning = errors::meaning(answer);
    let Ok(listing) = answer.json::<document::Listing<'_>>() else { return };
    let _next = listing.next();
    for kind in &records::KINDS {
        let _records = records::read_all(kind, "L", &listing.data);
    }
}
