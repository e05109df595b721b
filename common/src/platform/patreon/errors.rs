//! What Patreon's refusals mean.

use serde::Deserialize;

use crate::platform::PlatformError;
use crate::platform::answer::{Answer, Meaning, error_code, retry_after};

/// One of the errors in a body; all empty where there is none.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorObject {
    code_name: Option<String>,
    source: Option<Source>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    parameter: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<ErrorObject>,
}

/// Sorts an answer by what can be done about it.
///
/// A 403 in Patreon's own form is about permission. One in another form comes from its edge, which
/// drops what it does not like, for half an hour perhaps: it tells nothing about us or the record.
pub(super) fn meaning(answer: &Answer) -> Meaning {
    if let Some(meaning) = answer.common_meaning() {
        return meaning;
    }
    let errors = answer.json::<Body>().ok().map(|body| body.errors);
    let in_its_form = errors.is_some();
    let errors = errors.unwrap_or_default();
    let status = answer.status.as_u16();
    let code = errors.first().and_then(|error| error.code_name.as_deref()).unwrap_or_default();
    let reason = format!("{status} {}", error_code(code));
    Meaning::Failed(match status {
        404 => return Meaning::Missing,
        410 => return Meaning::Gone,
        403 if in_its_form => return Meaning::Forbidden(reason),
        403 => PlatformError::Transient {
            what: "status 403, not in Patreon's form".to_owned(),
            retry_after: retry_after(&answer.headers),
        },
        401 => PlatformError::Unauthorized { reason },
        // Its code is 3; what it is about is enough.
        400..=499 if errors.iter().any(ErrorObject::is_about_the_cursor) => {
            PlatformError::CursorLost
        }
        _ => PlatformError::Unexpected { what: format!("status {reason}") },
    })
}

impl ErrorObject {
    fn is_about_the_cursor(&self) -> bool {
        let parameter = self.source.as_ref().and_then(|source| source.parameter.as_deref());
        parameter == Some("page[cursor]")
    }
}
