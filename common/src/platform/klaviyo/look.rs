//! Looking at profiles, a hundred with one request.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ids::ExternalId;
use crate::platform::answer::Meaning;
use crate::platform::confirm::confirm;
use crate::platform::klaviyo::{DIALECT, errors, profile};
use crate::platform::{Call, Look, PlatformError, RecordKind};

/// Asks for all of `ids` at once. The answer leaves out those that do not exist without a word,
/// so each of these is asked for by itself before it counts as missing.
pub(super) async fn profiles(
    call: &Call<'_>,
    kind: &RecordKind,
    ids: &[ExternalId],
) -> Result<Vec<Look>, PlatformError> {
    let (mut asked, strange): (BTreeSet<_>, BTreeSet<_>) =
        ids.iter().partition(|id| profile::is_id(id.as_str()));
    let mut looks: Vec<_> =
        strange.into_iter().map(|id| Look::unclear(id, "no id to ask for here")).collect();
    if asked.is_empty() {
        return Ok(looks);
    }
    for look in batch(call, kind, &asked).await? {
        if asked.remove(look.external_id()) {
            looks.push(look);
        }
    }
    let left_out = asked.into_iter().collect();
    looks.extend(confirm(left_out, |id| one(call, kind, id)).await);
    Ok(looks)
}

async fn batch(
    call: &Call<'_>,
    kind: &RecordKind,
    ids: &BTreeSet<&ExternalId>,
) -> Result<Vec<Look>, PlatformError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
    }

    let quoted: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    let filter = format!("any(id,[{}])", quoted.join(","));
    let query = [("filter", filter.as_str()), ("page[size]", "100")];
    let answer = call.get(&DIALECT, "/api/profiles", &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    let Body { data } = answer.json()?;
    data.into_iter().map(|payload| profile::read(kind, payload)).collect()
}

async fn one(call: &Call<'_>, kind: &RecordKind, id: &ExternalId) -> Result<Look, PlatformError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }

    let answer = call.get(&DIALECT, "/api/profiles/{id}", &[id.as_str()], &[]).await?;
    match errors::meaning(&answer) {
        Meaning::Missing => return Ok(Look::Missing(id.clone())),
        meaning => meaning.into_result()?,
    }
    let Body { data } = answer.json()?;
    let look = profile::read(kind, data)?;
    if look.external_id() == id {
        return Ok(look);
    }
    // A profile that was merged into another may be answered with that one.
    Ok(Look::unclear(id, "answered with another profile"))
}
