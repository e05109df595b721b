//! What Klaviyo's refusals mean.

use serde::Deserialize;

use crate::platform::PlatformError;
use crate::platform::answer::{Answer, Meaning, error_code};

/// The first of the errors in a body; all empty where there is none.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorObject {
    code: String,
    detail: String,
    source: Source,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    parameter: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    errors: Vec<ErrorObject>,
}

/// Sorts an answer by what can be done about it.
///
/// A bad key is a 400 in one official text and a 401 in another, so a 400 that speaks of
/// credentials counts as one. 410 is not a deleted record but a retired revision: everything we
/// ask will be refused.
pub(super) fn meaning(answer: &Answer) -> Meaning {
    if let Some(meaning) = answer.common_meaning() {
        return meaning;
    }
    let error = answer
        .json::<Body>()
        .ok()
        .and_then(|body| body.errors.into_iter().next())
        .unwrap_or_default();
    let reason = format!("{} {}", answer.status.as_u16(), error_code(&error.code));
    Meaning::Failed(match answer.status.as_u16() {
        404 => return Meaning::Missing,
        401 | 403 => PlatformError::Unauthorized { reason },
        400 if error.is_about_credentials() => PlatformError::Unauthorized { reason },
        400 if error.source.parameter.is_some_and(|parameter| parameter.contains("cursor")) => {
            PlatformError::CursorLost
        }
        410 => PlatformError::Retired { reason },
        _ => PlatformError::Unexpected { what: format!("status {reason}") },
    })
}

impl ErrorObject {
    /// The codes are unpublished; these words are in all that have been seen.
    fn is_about_credentials(&self) -> bool {
        let text = format!("{} {}", self.code, self.detail).to_lowercase();
        ["api key", "api_key", "api-key", "private key", "authenticat", "authoriz"]
            .iter()
            .any(|word| text.contains(word))
    }
}
