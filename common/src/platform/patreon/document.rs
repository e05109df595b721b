//! JSON:API as Patreon writes it, as far as the adapter reads it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ids::ExternalId;
use crate::platform::patreon::records::{TIER, is_id, tier_id};
use crate::platform::{Look, PlatformError, RecordKind};

/// One record, and what was included.
#[derive(Deserialize)]
pub(super) struct One<'a> {
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
    #[serde(borrow, default)]
    pub(super) included: Vec<&'a RawValue>,
}

/// A page of a list, and what was included.
#[derive(Deserialize)]
pub(super) struct Many<'a> {
    #[serde(borrow)]
    pub(super) data: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) included: Vec<&'a RawValue>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    pagination: Option<Pagination>,
}

/// Where a list goes on, and how long it is.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Pagination {
    cursors: Option<Cursors>,
    pub(super) total: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Cursors {
    next: Option<String>,
}

impl Pagination {
    /// A list of `total` records, of which `next` is the cursor of another page.
    #[cfg(test)]
    pub(super) fn of(next: Option<&str>, total: Option<u64>) -> Self {
        Self { cursors: Some(Cursors { next: next.map(str::to_owned) }), total }
    }

    /// Patreon's own cursor of the next page.
    pub(super) fn next(&self) -> Option<&str> {
        self.cursors.as_ref()?.next.as_deref().filter(|next| !next.is_empty())
    }
}

impl Many<'_> {
    pub(super) fn pagination(&self) -> Pagination {
        self.meta.as_ref().and_then(|meta| meta.pagination.clone()).unwrap_or_default()
    }
}

/// What the adapter itself needs of a record.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    attributes: Option<Hints>,
    relationships: Option<Relationships>,
}

#[derive(Deserialize)]
struct Hints {
    edited_at: Option<String>,
}

#[derive(Deserialize)]
struct Relationships {
    tiers: Option<Tiers>,
}

#[derive(Deserialize)]
struct Tiers {
    data: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    id: String,
}

impl Head {
    /// Reads the head of a record that must be of this type.
    pub(super) fn of(payload: &RawValue, kind: &str) -> Result<Self, PlatformError> {
        serde_json::from_str(payload.get())
            .ok()
            .filter(|head: &Self| head.kind == kind && is_id(&head.id))
            .ok_or_else(|| PlatformError::Unexpected { what: format!("a {kind} without an id") })
    }
}

/// Reads a campaign or a member: found, or unclear when it has no canonical form.
pub(super) fn read(kind: &RecordKind, payload: &RawValue) -> Result<Look, PlatformError> {
    let head = Head::of(payload, kind.name)?;
    Ok(found(kind, &ExternalId::new(&head.id), payload, &head))
}

/// Reads the tiers of a campaign out of what came with it. What else is included is left alone:
/// it may be of any type, and of other campaigns.
pub(super) fn read_tiers(
    kind: &RecordKind,
    campaign: &RawValue,
    included: &[&RawValue],
) -> Result<Vec<Look>, PlatformError> {
    let campaign = Head::of(campaign, super::records::CAMPAIGN)?;
    let tiers = campaign.relationships.and_then(|all| all.tiers).and_then(|tiers| tiers.data);
    let ours: BTreeSet<_> =
        tiers.unwrap_or_default().into_iter().map(|reference| reference.id).collect();
    Ok(included
        .iter()
        .filter_map(|payload| Some((payload, Head::of(payload, TIER).ok()?)))
        .filter(|(_, head)| ours.contains(&head.id))
        .map(|(payload, head)| found(kind, &tier_id(&campaign.id, &head.id), payload, &head))
        .collect())
}

fn found(kind: &RecordKind, id: &ExternalId, payload: &RawValue, head: &Head) -> Look {
    // `edited_at` is a hint, and only tiers have it; one that cannot be read is as good as none.
    let version =
        head.attributes.as_ref().and_then(|hints| hints.edited_at.as_deref()?.parse().ok());
    match kind.snapshot(id.clone(), payload, version) {
        Ok(snapshot) => Look::Found(snapshot),
        Err(error) => Look::unclear(id, error.to_string()),
    }
}
