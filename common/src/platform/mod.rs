//! The platforms: what they are asked, what they tell us, what their answers mean.

mod account;
mod answer;
mod api;
mod ban;
mod bridge;
mod call;
mod confirm;
mod discord;
mod error;
mod eventbrite;
#[cfg(fuzzing)]
pub mod fuzzing;
mod klaviyo;
mod oauth;
mod patreon;
mod record;
mod sender;
#[cfg(test)]
mod tests;
mod token;
mod webhook;

pub use account::{Account, Consistency};
pub use api::{Api, ApiError, ApiSettings};
pub use ban::ErrorBudget;
pub use bridge::{Bridged, MAX_BRIDGED_IDS, read_bridged};
pub use call::{Call, PaidRefresh};
pub use error::PlatformError;
pub use oauth::{ClientAuth, NewTokens, OAuthEndpoint, RefreshError, RefreshRequest};
pub use record::{Look, Page, RecordKind, ScanFrom, Snapshot, Unseen};
pub use sender::{Endpoint, Gap, Repair, Sender, SenderState};
pub use token::{CurrentToken, Token, TokenKeeper};
pub use webhook::{Acknowledgement, Notice, Refused, SignedAt, WebhookRequest};

use async_trait::async_trait;

use crate::ids::ExternalId;
use crate::quota::LaneLimits;

/// Everything the fleet needs a platform to do.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Its name in lanes, URLs, Redis keys, metrics and the dashboard.
    fn name(&self) -> &'static str;

    /// The records it has and how each is read and compared.
    fn records(&self) -> &'static [RecordKind];

    /// Where its API lives, unless the configuration says otherwise.
    fn base_url(&self) -> &'static str;

    /// Where its tokens are renewed; `None` where they last.
    fn oauth(&self) -> Option<OAuthEndpoint> {
        None
    }

    /// Its quotas, by this project's defaults, for one connection.
    fn limits(&self) -> LaneLimits;

    /// Which of these it counts for an OAuth client and not for one account: connections of one
    /// client have to divide it.
    fn client_quota(&self) -> Option<&'static str> {
        None
    }

    /// How many failures get the address blocked that they come from; `None` where nothing is known
    /// of that. Which answers count, the adapter says of each.
    fn error_budget(&self) -> Option<ErrorBudget> {
        None
    }

    /// How far behind a write its reads may be.
    fn consistency(&self) -> Consistency;

    /// Checks that a webhook is the platform's own, and says which records it makes dirty: none
    /// when it does not concern us, never one of them twice.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the signature does not match or the body is not understood.
    fn receive(
        &self,
        account: &Account,
        request: &WebhookRequest<'_>,
    ) -> Result<Vec<Notice>, Refused>;

    /// When the platform signed a webhook; `None` where it signs no time, or not in a form that we
    /// know. Only of use for one that [`Self::receive`] has taken.
    fn signed_at(&self, _request: &WebhookRequest<'_>) -> Option<SignedAt> {
        None
    }

    /// How a webhook that was taken is answered.
    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement::Accepted
    }

    /// What is to be read when its webhooks were not sent for a while. No kinds where it cannot say
    /// whether they are.
    fn gap(&self) -> Gap {
        Gap::default()
    }

    /// Looks at what sends its webhooks to `endpoint`.
    ///
    /// # Errors
    ///
    /// [`PlatformError`]; [`PlatformError::Unauthorized`] where the token may not ask that, which
    /// says nothing about what else it may.
    async fn sender(
        &self,
        _call: &Call<'_>,
        _endpoint: &Endpoint,
    ) -> Result<Sender, PlatformError> {
        Ok(Sender::unknown("this platform cannot say"))
    }

    /// Sets what [`Self::sender`] found broken going again, where that can be done from here.
    ///
    /// # Errors
    ///
    /// [`PlatformError`]. That the token may not do it is no error but [`Repair::NotDone`].
    async fn repair_sender(
        &self,
        _call: &Call<'_>,
        _endpoint: &Endpoint,
        _found: &Sender,
    ) -> Result<Repair, PlatformError> {
        Ok(Repair::NotDone("this platform cannot be told".to_owned()))
    }

    /// Looks at records of one kind that can share a request: as many as `RecordKind::batch`, and
    /// equal up to the last slash of their ids. Answers for each of them, in any order.
    ///
    /// # Errors
    ///
    /// [`PlatformError`] when nothing can be said about any of them.
    async fn look(
        &self,
        call: &Call<'_>,
        kind: &RecordKind,
        ids: &[ExternalId],
    ) -> Result<Vec<Look>, PlatformError>;

    /// Reads one page of a scan, in one request.
    ///
    /// # Errors
    ///
    /// [`PlatformError::CursorLost`] when the scan has to start anew from its watermark.
    async fn scan(
        &self,
        call: &Call<'_>,
        kind: &RecordKind,
        from: &ScanFrom,
    ) -> Result<Page, PlatformError>;

    /// One cheap request that shows whether the account's token is accepted: without more, the
    /// first page of a scan.
    ///
    /// # Errors
    ///
    /// [`PlatformError`], by which a person sees what is wrong.
    async fn probe(&self, call: &Call<'_>) -> Result<(), PlatformError> {
        match self.records().first() {
            Some(kind) => self.scan(call, kind, &ScanFrom::default()).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Every platform the fleet knows: the one place where a new one is entered.
pub fn all() -> &'static [&'static dyn Platform] {
    &[&discord::Discord, &eventbrite::Eventbrite, &klaviyo::Klaviyo, &patreon::Patreon]
}

/// The platform with this name.
pub fn named(name: &str) -> Option<&'static dyn Platform> {
    all().iter().copied().find(|platform| platform.name() == name)
}
