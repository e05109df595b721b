//! Looking at records by id: members and campaigns one by one, all tiers of a campaign at once.

use std::collections::BTreeSet;

use crate::ids::ExternalId;
use crate::platform::answer::Meaning;
use crate::platform::patreon::document::{One, read, read_tiers};
use crate::platform::patreon::records::{
    CAMPAIGN_QUERY, MEMBER, MEMBER_QUERY, TIER, is_id, tier_parts,
};
use crate::platform::patreon::{DIALECT, errors};
use crate::platform::{Call, Look, PlatformError, RecordKind};

pub(super) async fn records(
    call: &Call<'_>,
    kind: &RecordKind,
    ids: &[ExternalId],
) -> Result<Vec<Look>, PlatformError> {
    // Tiers that share a request share the campaign.
    let campaign = ids.iter().find_map(tier_parts).map_or("", |(campaign, _)| campaign);
    let can_ask = |id: &ExternalId| match kind.name {
        TIER => tier_parts(id).is_some_and(|(parent, _)| parent == campaign),
        _ => is_id(id.as_str()),
    };
    let (asked, strange): (BTreeSet<_>, BTreeSet<_>) = ids.iter().partition(|id| can_ask(id));
    let mut looks: Vec<_> =
        strange.into_iter().map(|id| Look::unclear(id, "no id to ask for here")).collect();
    if kind.name == TIER && !asked.is_empty() {
        looks.extend(tiers(call, kind, campaign, asked).await?);
    } else {
        for id in asked {
            looks.push(one(call, kind, id).await?);
        }
    }
    Ok(looks)
}

/// A tier only comes with its campaign, so one that does not is missing.
async fn tiers(
    call: &Call<'_>,
    kind: &RecordKind,
    campaign: &str,
    mut asked: BTreeSet<&ExternalId>,
) -> Result<Vec<Look>, PlatformError> {
    let answer = call.get(&DIALECT, "/campaigns/{campaign}", &[campaign], &CAMPAIGN_QUERY).await?;
    let all = |look: &dyn Fn(&ExternalId) -> Look| Ok(asked.iter().map(|id| look(id)).collect());
    match errors::meaning(&answer) {
        Meaning::Missing => return all(&|id| Look::Missing(id.clone())),
        Meaning::Gone => return all(&|id| Look::Gone(id.clone())),
        Meaning::Forbidden(reason) => return all(&|id| Look::unclear(id, reason.as_str())),
        meaning => meaning.into_result()?,
    }
    let One { data, included } = answer.json()?;
    let mut looks = Vec::with_capacity(asked.len());
    for look in read_tiers(kind, data, &included)? {
        if asked.remove(look.external_id()) {
            looks.push(look);
        }
    }
    looks.extend(asked.into_iter().cloned().map(Look::Missing));
    Ok(looks)
}

/// One record with a request of its own.
async fn one(call: &Call<'_>, kind: &RecordKind, id: &ExternalId) -> Result<Look, PlatformError> {
    let path = [id.as_str()];
    let answer = match kind.name {
        MEMBER => call.get(&DIALECT, "/members/{member}", &path, &MEMBER_QUERY).await?,
        _ => call.get(&DIALECT, "/campaigns/{campaign}", &path, &CAMPAIGN_QUERY).await?,
    };
    match errors::meaning(&answer) {
        Meaning::Missing => return Ok(Look::Missing(id.clone())),
        Meaning::Gone => return Ok(Look::Gone(id.clone())),
        Meaning::Forbidden(reason) => return Ok(Look::unclear(id, reason)),
        meaning => meaning.into_result()?,
    }
    let One { data, .. } = answer.json()?;
    let look = read(kind, data)?;
    if look.external_id() == id {
        return Ok(look);
    }
    Ok(Look::unclear(id, "answered with another record"))
}
