//! Discord: the guilds of one bot, their members and roles, and the entitlements of its
//! application, by its API v10.
//!
//! A guild, member or role never gets a tombstone because we lost access to its guild: it is out
//! of reach then, which says nothing about it.
//!
//! Left out, and why:
//!
//! - Bans, `role` member counts and `with_counts`: no records, and counters that always move.
//! - A scan of changes, a batch of members by id, conditional requests: there are none over HTTP.
//!   The gateway has a batch by id; a gateway client is another program.
//! - Webhooks about guilds, members and roles: none exist. Without a bridge from the gateway their
//!   freshness comes from scans and spot checks alone.
//! - Quests, lobby and direct messages: webhooks about no record of ours.
//! - Checking the age of a webhook: no window is prescribed, and one sent again costs a look.
//! - The ban after 10,000 answers of 401, 403 or 429 in ten minutes is kept away from by not asking:
//!   a 401 parks the connection, a block freezes it, and what is out of reach is left alone.

mod errors;
mod limits;
mod look;
mod records;
mod scan;
mod sender;
mod snowflake;
#[cfg(test)]
mod tests;
mod unknown;
mod webhook;

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::ExternalId;
use crate::platform::api::Dialect;
use crate::platform::{
    Account, Acknowledgement, Call, Consistency, Endpoint, ErrorBudget, Gap, Look, Notice, Page,
    Platform, PlatformError, RecordKind, Refused, Repair, ScanFrom, Sender, SignedAt,
    WebhookRequest,
};
use crate::quota::LaneLimits;

/// The adapter. It knows nothing between two calls.
pub(super) struct Discord;

/// Without a `User-Agent` of this form Cloudflare may refuse us, without a `Content-Type` Discord
/// does, also where there is no body.
pub(super) const DIALECT: Dialect = Dialect {
    scheme: "Bot",
    headers: &[("accept", "application/json"), ("content-type", "application/json")],
    user_agent: Some(user_agent),
    body_type: "application/json",
    signal: limits::signal,
    body_signal: limits::body_signal,
    counts_to_ban: limits::counts_to_ban,
};

/// `DiscordBot (<url>, <version>)`. Where nobody has said who runs this, the URL is that of the page
/// on which Discord itself shows the application: it says truly whose bot this is.
fn user_agent(contact: &str, account: &Account) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if contact.is_empty() {
        let page = "https://discord.com/oauth2/authorize?client_id=";
        return format!("DiscordBot ({page}{}, {version})", account.account);
    }
    format!("DiscordBot ({contact}, {version})")
}

#[async_trait]
impl Platform for Discord {
    fn name(&self) -> &'static str {
        "discord"
    }

    fn records(&self) -> &'static [RecordKind] {
        &records::KINDS
    }

    /// Without the version it would be the deprecated v6.
    fn base_url(&self) -> &'static str {
        "https://discord.com/api/v10"
    }

    fn limits(&self) -> LaneLimits {
        limits::defaults()
    }

    fn error_budget(&self) -> Option<ErrorBudget> {
        Some(limits::BAN)
    }

    /// Discord calls itself eventually consistent and names no time. A webhook is not even sent in
    /// real time, so little is left of the lag when it comes.
    fn consistency(&self) -> Consistency {
        Consistency { confirm_after: vec![Duration::from_secs(30)], young: Duration::from_secs(30) }
    }

    fn receive(
        &self,
        account: &Account,
        request: &WebhookRequest<'_>,
    ) -> Result<Vec<Notice>, Refused> {
        webhook::receive(account, request)
    }

    fn signed_at(&self, request: &WebhookRequest<'_>) -> Option<SignedAt> {
        webhook::signed_at(request)
    }

    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement::NoContent
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
        found: &Sender,
    ) -> Result<Repair, PlatformError> {
        sender::repair(call, endpoint, found).await
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
    use serde_json::value::RawValue;

    let _meaning = errors::meaning(answer);
    limits::body_signal(answer, &mut crate::quota::RateSignal::default());
    let list = answer.json::<Vec<&RawValue>>().unwrap_or_default();
    let one = answer.json::<&RawValue>().ok();
    for kind in &records::KINDS {
        for payload in one.iter().chain(&list) {
            let guild = snowflake::Snowflake::parse("7");
            drop(records::read(kind, guild, payload, answer.now()));
        }
    }
}
