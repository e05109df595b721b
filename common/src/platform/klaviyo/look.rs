//! Looking at profiles, a hundred with one request, and at lists, ten with one.

use std::collections::BTreeSet;

use crate::ids::ExternalId;
use crate::platform::answer::Meaning;
use crate::platform::confirm::confirm;
use crate::platform::klaviyo::document::{Many, One};
use crate::platform::klaviyo::records::{LIST, PROFILE, is_id, read};
use crate::platform::klaviyo::{DIALECT, errors};
use crate::platform::{Call, Look, PlatformError, RecordKind};

/// Asks for all of `ids` at once. The answer leaves out those that do not exist without a word,
/// so each of these is asked for by itself before it counts as missing.
pub(super) async fn records(
    call: &Call<'_>,
    kind: &RecordKind,
    ids: &[ExternalId],
) -> Result<Vec<Look>, PlatformError> {
    let (mut asked, strange): (BTreeSet<_>, BTreeSet<_>) =
        ids.iter().partition(|id| is_id(id.as_str()));
    let mut looks: Vec<_> =
        strange.into_iter().map(|id| Look::unclear(id, "no id to ask for here")).collect();
    if asked.is_empty() {
        return Ok(looks);
    }
    let ids = asked.iter().map(|id| id.as_str());
    let template = if kind.name == LIST { "/api/lists" } else { "/api/profiles" };
    for look in batch(call, kind, template, ids).await? {
        if asked.remove(look.external_id()) {
            looks.push(look);
        }
    }
    let left_out: Vec<_> = asked.into_iter().collect();
    let confirmed = confirm(left_out.clone(), |id| one(call, kind, id)).await;
    for (id, look) in left_out.into_iter().zip(confirmed) {
        if look.external_id() != id {
            looks.push(answered_with_another(kind, id));
        }
        looks.push(look);
    }
    Ok(looks)
}

/// Asks for those of `ids` that there are, in one request.
async fn batch(
    call: &Call<'_>,
    kind: &RecordKind,
    template: &'static str,
    ids: impl Iterator<Item = &str>,
) -> Result<Vec<Look>, PlatformError> {
    let (filter, size) = (any("id", ids), page_size(kind));
    let query = [("filter", filter.as_str()), ("page[size]", size)];
    let answer = call.get(&DIALECT, template, &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    let Many { data } = answer.json()?;
    data.into_iter().map(|payload| read(kind, "", payload)).collect()
}

/// The filter for records of which `field` has any of `values`, which hold no quotation mark.
pub(super) fn any<'a>(field: &str, values: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = values.map(|value| format!("\"{value}\"")).collect();
    format!("any({field},[{}])", quoted.join(","))
}

/// The largest page there is: ten lists, or a hundred of anything else.
pub(super) fn page_size(kind: &RecordKind) -> &'static str {
    if kind.name == LIST { "10" } else { "100" }
}

/// Asks for one record by itself. What is found may have another id.
async fn one(call: &Call<'_>, kind: &RecordKind, id: &ExternalId) -> Result<Look, PlatformError> {
    let template = if kind.name == LIST { "/api/lists/{id}" } else { "/api/profiles/{id}" };
    let answer = call.get(&DIALECT, template, &[id.as_str()], &[]).await?;
    match errors::meaning(&answer) {
        Meaning::Missing => return Ok(Look::Missing(id.clone())),
        meaning => meaning.into_result()?,
    }
    let One { data } = answer.json()?;
    read(kind, "", data)
}

/// Who asks for a profile that was merged into another may be answered with that one: the profile
/// that was asked for is none of its own any more, like one that is gone.
fn answered_with_another(kind: &RecordKind, id: &ExternalId) -> Look {
    if kind.name == PROFILE {
        Look::Missing(id.clone())
    } else {
        Look::unclear(id, "answered with another record")
    }
}
