//! What Discord's refusals mean: by their JSON code first, since one status has many.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::PlatformError;
use crate::platform::answer::{Answer, Meaning, retry_after};

/// How long to stay away when Cloudflare blocks us and names no time: the window of its ban.
pub(super) const BLOCKED_FOR: Duration = Duration::from_mins(10);

const UNKNOWN_GUILD: u32 = 10_004;
const UNKNOWN_MEMBER: u32 = 10_007;
const UNKNOWN_ROLE: u32 = 10_011;
/// Who has no account is no member.
const UNKNOWN_USER: u32 = 10_013;
const UNAUTHORIZED: u32 = 40_001;
const CLOUDFLARE: u32 = 40_333;
const MISSING_ACCESS: u32 = 50_001;
const BAD_TOKEN: u32 = 50_014;
const INDEX_NOT_READY: u32 = 110_000;
const OVERLOADED: u32 = 130_000;

#[derive(Deserialize)]
struct Body {
    code: Option<u32>,
}

/// Sorts an answer by what can be done about it.
///
/// That a guild is unknown, or that access to it is missing, says that the bot was removed, not
/// that the guild or anything in it is gone. Only an unknown member, user or role is missing; a 404 with
/// another code, or none, is about our request.
pub(super) fn meaning(answer: &Answer) -> Meaning {
    let status = answer.status.as_u16();
    let code = answer.json::<Body>().ok().and_then(|body| body.code).unwrap_or_default();
    let reason = format!("{status} {code}");
    let transient = |retry_after| {
        let what = format!("status {reason}");
        Meaning::Failed(PlatformError::Transient { what, retry_after })
    };
    match (status, code) {
        (400..=499, INDEX_NOT_READY | OVERLOADED) => {
            return transient(retry_after(&answer.headers));
        }
        (400..=499, UNAUTHORIZED | BAD_TOKEN) | (401, _) => {
            return Meaning::Failed(PlatformError::Unauthorized { reason });
        }
        _ => {}
    }
    if is_block(answer) {
        return transient(Some(retry_after(&answer.headers).unwrap_or(BLOCKED_FOR)));
    }
    if let Some(meaning) = answer.common_meaning() {
        return meaning;
    }
    match (status, code) {
        (404, UNKNOWN_MEMBER | UNKNOWN_ROLE | UNKNOWN_USER) => Meaning::Missing,
        (404, UNKNOWN_GUILD) | (403, MISSING_ACCESS) => Meaning::OutOfReach(reason),
        (403, _) => Meaning::Forbidden(reason),
        _ => Meaning::Failed(PlatformError::Unexpected { what: format!("status {reason}") }),
    }
}

/// Whether it is Cloudflare that refuses, and so all of our requests: its own code, or a refusal
/// that is not in Discord's form.
pub(super) fn is_block(answer: &Answer) -> bool {
    if !matches!(answer.status.as_u16(), 403 | 429) {
        return false;
    }
    match answer.json::<Body>() {
        Ok(body) => body.code == Some(CLOUDFLARE),
        Err(_) => true,
    }
}
