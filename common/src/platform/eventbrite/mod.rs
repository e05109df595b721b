//! Eventbrite: events, attendees and orders of one organization, by its API v3.
//!
//! `docs/platforms/eventbrite.md` has the facts that this is made from, and what is left out and why.

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
    Account, Call, Consistency, Endpoint, Gap, Look, Notice, Page, Platform, PlatformError,
    RecordKind, Refused, Repair, ScanFrom, Sender, WebhookRequest,
};
use crate::quota::LaneLimits;

/// The adapter. It knows nothing between two calls.
pub(super) struct Eventbrite;

pub(super) const DIALECT: Dialect = Dialect {
    scheme: "Bearer",
    headers: &[("accept", "application/json")],
    user_agent: None,
    body_type: "application/json",
    signal: limits::signal,
    body_signal: |_, _| {},
    counts_to_ban: |_, _| false,
};

#[async_trait]
impl Platform for Eventbrite {
    fn name(&self) -> &'static str {
        "eventbrite"
    }

    fn records(&self) -> &'static [RecordKind] {
        &records::KINDS
    }

    fn base_url(&self) -> &'static str {
        "https://www.eventbriteapi.com/v3"
    }

    fn limits(&self) -> LaneLimits {
        limits::defaults()
    }

    /// Reads are up to five minutes behind a write, nearly always less than fifteen seconds; a
    /// record that was just made may be missing that long.
    fn consistency(&self) -> Consistency {
        Consistency {
            confirm_after: vec![Duration::from_secs(20), Duration::from_mins(5)],
            young: Duration::from_mins(5),
        }
    }

    /// Eventbrite signs nothing. What makes a webhook its own is the path it came to, which
    /// nobody else knows; whoever routes it here has checked that.
    fn receive(
        &self,
        _account: &Account,
        request: &WebhookRequest<'_>,
    ) -> Result<Vec<Notice>, Refused> {
        webhook::receive(request.body)
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
        endpoint: &Endpoint,
        _found: &Sender,
    ) -> Result<Repair, PlatformError> {
        sender::repair(call, endpoint).await
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

/// Reads an answer as whatever it may be.
#[cfg(fuzzing)]
pub(super) fn read_anything(answer: &super::answer::Answer) {
    let _meaning = errors::meaning(answer);
    for kind in &records::KINDS {
        if let Ok(listing) = answer.json::<scan::Listing<'_>>()
            && let Ok(payloads) = listing.records(kind)
        {
            payloads.iter().for_each(|payload| drop(records::read(kind, payload)));
        }
    }
}
