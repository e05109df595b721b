//! What Discord allows.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::job::PROBE;
use crate::platform::ErrorBudget;
use crate::platform::answer::{Answer, pause, retry_after};
use crate::platform::discord::errors::{BLOCKED_FOR, is_block};
use crate::platform::discord::records::{GUILD, KINDS, MEMBER, ROLE};
use crate::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};

/// How long a refusal lasts that does not say. Discord's windows are seconds long.
const PAUSE: Duration = Duration::from_secs(5);

/// A second, of the documented limit as of our own pace.
const SECOND: Duration = Duration::from_secs(1);

/// How many requests a second we ask for records of one kind, whatever the routes allow.
const PACE: u32 = 5;
/// So many answers of 401, 403 or 429 in ten minutes get the address blocked.
///
/// Source: Discord, "Rate limits", "Invalid Request Limit aka Cloudflare Bans".
pub(super) const BAN: ErrorBudget = ErrorBudget { limit: 10_000, window: Duration::from_mins(10) };

/// A refusal because of a limit that is shared with others does not count.
pub(super) fn counts_to_ban(status: StatusCode, headers: &HeaderMap) -> bool {
    let shared = || headers.get("x-ratelimit-scope").is_some_and(|scope| scope == "shared");
    match status.as_u16() {
        401 | 403 => true,
        429 => !shared(),
        _ => false,
    }
}

/// 50 a second for the bot. What a route allows on top of that is not documented, may change, and
/// is read from each answer: see [`signal`].
///
/// An answer only tells when the requests beside it are already on their way, so each kind of
/// record has a pace of its own, which is ours and no number of Discord's: slow enough that few are
/// on their way at once. The configuration can raise it.
pub(super) fn defaults() -> LaneLimits {
    let global = Quota::new("global", 50, SECOND);
    let paces = KINDS.iter().map(|record| Quota::new(pace(record.name), PACE, SECOND));
    let kinds = KINDS.iter().enumerate().flat_map(|(n, record)| {
        let kind = |batch| KindLimits { batch, cost: 1, quotas: vec![0, n + 1] };
        let scan = format!("scan@{}", record.name);
        [(record.name.to_owned(), kind(record.batch)), (scan, kind(1))]
    });
    let probe = (PROBE.to_owned(), KindLimits { batch: 1, cost: 1, quotas: vec![0] });
    LaneLimits {
        quotas: [global].into_iter().chain(paces).collect(),
        kinds: kinds.chain([probe]).collect(),
    }
}

/// The name of a kind's own quota.
fn pace(record: &str) -> &'static str {
    match record {
        GUILD => "guilds",
        MEMBER => "members",
        ROLE => "roles",
        _ => "entitlements",
    }
}

/// `X-RateLimit-Remaining` and `X-RateLimit-Reset-After` (seconds, with decimals) are about the
/// bucket of the route, in the guild that was asked about. A bucket is not known here, but each
/// kind of job asks few routes, so the kind is what waits; for other guilds that is longer than
/// necessary. `X-RateLimit-Reset` says the same by Discord's clock and is not needed.
///
/// A 429 is about all of the bot's requests when `X-RateLimit-Global` or the scope says so. One of
/// scope `shared` is caused by others and does not count towards a ban; it waits all the same.
/// Every one of these headers may be missing.
pub(super) fn signal(status: StatusCode, headers: &HeaderMap) -> RateSignal {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let remaining = text("x-ratelimit-remaining").and_then(|left| left.parse().ok());
    let reset = text("x-ratelimit-reset-after").and_then(|s| s.parse().ok()).and_then(pause);
    let global = text("x-ratelimit-global").is_some_and(|global| global == "true")
        || text("x-ratelimit-scope") == Some("global");
    RateSignal {
        remaining: remaining.zip(reset),
        refused_for: (status == StatusCode::TOO_MANY_REQUESTS)
            .then(|| retry_after(headers).unwrap_or(PAUSE)),
        scope: if global { RateScope::Lane } else { RateScope::Kind },
        blameless: text("x-ratelimit-scope") == Some("shared"),
    }
}

/// The body of a 429 says `retry_after` (seconds, with decimals) and `global`. A refusal of
/// Cloudflare's may be in no such form, and is about everything.
pub(super) fn body_signal(answer: &Answer, signal: &mut RateSignal) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        retry_after: Option<f64>,
        global: Option<bool>,
    }

    if is_block(answer) {
        signal.refused_for = Some(retry_after(&answer.headers).unwrap_or(BLOCKED_FOR));
        signal.scope = RateScope::Lane;
        // Not for our pace: the edge does not like who asks. Its 429 is about how much is asked.
        signal.blameless = answer.status == StatusCode::FORBIDDEN;
        return;
    }
    if answer.status != StatusCode::TOO_MANY_REQUESTS {
        return;
    }
    let body = answer.json::<Body>().unwrap_or_default();
    let said = body.retry_after.and_then(pause);
    if let Some(wait) = said.into_iter().chain(retry_after(&answer.headers)).max() {
        signal.refused_for = Some(wait);
    }
    if body.global == Some(true) {
        signal.scope = RateScope::Lane;
    }
}
