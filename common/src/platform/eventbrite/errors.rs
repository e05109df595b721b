//! What Eventbrite's refusals mean.

use serde::Deserialize;

use crate::platform::PlatformError;
use crate::platform::answer::{Answer, Meaning, error_code};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: String,
}

/// Sorts an answer by what can be done about it: by `error` first, since one status has many.
pub(super) fn meaning(answer: &Answer) -> Meaning {
    if let Some(meaning) = answer.common_meaning() {
        return meaning;
    }
    let error = answer.json::<Body>().unwrap_or_default().error;
    let reason = format!("{} {}", answer.status.as_u16(), error_code(&error));
    Meaning::Failed(match (answer.status.as_u16(), error.as_str()) {
        // An order that was never completed is gone.
        (404, _) | (400, "ORDER_EXPIRED") => return Meaning::Missing,
        (403, _) => return Meaning::Forbidden(reason),
        (400, "INVALID_AUTH" | "INVALID_AUTH_HEADER") | (401, _) => {
            PlatformError::Unauthorized { reason }
        }
        (400, "BAD_CONTINUATION_TOKEN" | "BAD_PAGE") => PlatformError::CursorLost,
        (409, _) => {
            PlatformError::Transient { what: format!("status {reason}"), retry_after: None }
        }
        _ => PlatformError::Unexpected { what: format!("status {reason}") },
    })
}
