//! What Klaviyo allows.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::job::PROBE;
use crate::platform::answer::retry_after;
use crate::platform::klaviyo::records::{EVENT, KINDS, LIST, MEMBERSHIP};
use crate::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};

/// The window of the steady limits, and how long a refusal lasts that does not say.
const STEADY: Duration = Duration::from_mins(1);

/// Of the whole account, for all that we ask.
const ACCOUNT: [usize; 2] = [0, 1];
const PROFILES: usize = 2;
const LISTS: usize = 3;
const MEMBERS: usize = 4;
const EVENTS: usize = 5;
const WEBHOOKS: usize = 6;
const WEBHOOKS_BURST: usize = 7;

/// 75 a second and 500 a minute for all requests of an account together.
///
/// Klaviyo counts each endpoint by itself: 75 a second (events: 350), and 700 a minute by one of
/// its documents, 750 by the other (events: 3,500; webhooks: one a second, 15 a minute). The lower ones stand beside the account's, so
/// that whoever configures more for the account stays within them; the burst of an endpoint is the
/// account's. Smaller accounts have less, which the answers tell.
pub(super) fn defaults() -> LaneLimits {
    let kinds = KINDS.iter().flat_map(|record| {
        let scan = format!("scan@{}", record.name);
        [
            (record.name.to_owned(), limits(record.batch, &looked_at(record.name))),
            (scan, limits(1, &scanned(record.name))),
        ]
    });
    let probe = [(PROBE.to_owned(), limits(1, &[WEBHOOKS, WEBHOOKS_BURST]))];
    LaneLimits {
        quotas: vec![
            Quota::new("burst", 75, Duration::from_secs(1)),
            Quota::new("steady", 500, STEADY),
            Quota::new("profiles", 700, STEADY),
            Quota::new("lists", 700, STEADY),
            Quota::new("list-profiles", 700, STEADY),
            Quota::new("events", 3500, STEADY),
            // A look, a repair and another look are three requests.
            Quota { burst: 3, ..Quota::new("webhooks", 15, STEADY) },
            Quota::new("webhooks-burst", 1, Duration::from_secs(1)),
        ],
        kinds: kinds.chain(probe).collect(),
    }
}

/// The endpoint comes first: of windows of one length it is the one that the headers of an answer
/// are believed of.
fn limits(batch: u32, endpoints: &[usize]) -> KindLimits {
    KindLimits { batch, cost: 1, quotas: [endpoints, &ACCOUNT].concat() }
}

/// Which endpoints a look at such a record may ask. Those of a membership ask two.
fn looked_at(record: &str) -> Vec<usize> {
    match record {
        LIST => vec![LISTS],
        MEMBERSHIP => vec![MEMBERS, PROFILES],
        EVENT => vec![EVENTS],
        _ => vec![PROFILES],
    }
}

/// Which endpoints a scan may ask.
fn scanned(record: &str) -> Vec<usize> {
    match record {
        MEMBERSHIP => vec![MEMBERS, LISTS],
        _ => looked_at(record),
    }
}

/// `RateLimit-Remaining` and `RateLimit-Reset` (seconds) describe the steady window of the
/// endpoint; the burst window is never told. A 429 has neither, only `Retry-After`.
pub(super) fn signal(status: StatusCode, headers: &HeaderMap) -> RateSignal {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
    let remaining = number("ratelimit-remaining").zip(number("ratelimit-reset"));
    RateSignal {
        remaining: remaining
            .map(|(left, reset)| (left, Duration::from_secs(reset.into()).min(STEADY))),
        refused_for: (status == StatusCode::TOO_MANY_REQUESTS)
            .then(|| retry_after(headers).unwrap_or(STEADY)),
        scope: RateScope::Lane,
        ..RateSignal::default()
    }
}
