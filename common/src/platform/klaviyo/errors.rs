//! What Klaviyo's refusals mean.

use serde::Deserialize;
use serde_json::Value;

use crate::platform::PlatformError;
use crate::platform::answer::{Answer, Meaning, error_code};

/// What is told with a refusal; empty where it has another form.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    errors: Vec<ErrorObject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorObject {
    code: Value,
    detail: Value,
    source: Value,
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
    let errors = answer.json::<Body>().unwrap_or_default().errors;
    let code = errors.first().map(ErrorObject::code).unwrap_or_default();
    let reason = format!("{} {}", answer.status.as_u16(), error_code(code));
    Meaning::Failed(match answer.status.as_u16() {
        404 => return Meaning::Missing,
        401 | 403 => PlatformError::Unauthorized { reason },
        400 if errors.iter().any(ErrorObject::is_about_credentials) => {
            PlatformError::Unauthorized { reason }
        }
        400 if errors.iter().any(ErrorObject::is_about_the_cursor) => PlatformError::CursorLost,
        410 => PlatformError::Retired { reason },
        _ => PlatformError::Unexpected { what: format!("status {reason}") },
    })
}

impl ErrorObject {
    fn code(&self) -> &str {
        self.code.as_str().unwrap_or_default()
    }

    /// The part of the query that is wrong.
    fn parameter(&self) -> &str {
        self.source.get("parameter").and_then(Value::as_str).unwrap_or_default()
    }

    fn is_about_the_cursor(&self) -> bool {
        self.parameter().contains("cursor")
    }

    /// The codes are unpublished; these words are in all that have been seen. What is wrong with a
    /// parameter of ours may quote anything.
    fn is_about_credentials(&self) -> bool {
        let of_ours = ["filter", "sort", "page", "fields", "include", "additional-fields"];
        if of_ours.iter().any(|parameter| self.parameter().starts_with(parameter)) {
            return false;
        }
        let detail = self.detail.as_str().unwrap_or_default();
        let text = format!("{} {detail}", self.code()).to_lowercase();
        let words = [
            "api key",
            "api_key",
            "api-key",
            "private key",
            "authenticat",
            "authoriz",
            "credential",
        ];
        words.iter().any(|word| text.contains(word))
    }
}
