//! Profiles: what counts of them, and how they come.

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::warn;

use crate::drift::{Field, Shape};
use crate::ids::ExternalId;
use crate::platform::{Look, PlatformError, RecordKind, Snapshot};

/// One page, and so one request, holds a hundred.
pub(super) const KIND: RecordKind = RecordKind {
    name: "profile",
    schema_version: 1,
    batch: 100,
    changed_since: true,
    shape: &SHAPE,
};

/// Left out, because they move although nobody edits the profile: `last_event_date`, `updated`,
/// `location.ip`, `predictive_analytics`, links and relationships.
static SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::object(
        "attributes",
        &[
            Field::whole("email"),
            Field::whole("phone_number"),
            Field::whole("external_id"),
            Field::whole("first_name"),
            Field::whole("last_name"),
            Field::whole("organization"),
            Field::whole("locale"),
            Field::whole("title"),
            Field::whole("image"),
            Field::instant("created"),
            Field::object(
                "location",
                &[
                    Field::whole("address1"),
                    Field::whole("address2"),
                    Field::whole("city"),
                    Field::whole("country"),
                    Field::whole("latitude"),
                    Field::whole("longitude"),
                    Field::whole("region"),
                    Field::whole("zip"),
                    Field::whole("timezone"),
                ],
            ),
            Field::of("properties", Shape::Verbatim),
        ],
    ),
]);

/// Whether a text can be the id of a profile, and be put between quotes in a filter.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// What the adapter itself needs of a profile.
#[derive(Deserialize)]
struct Head {
    id: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct Attributes {
    updated: Option<String>,
}

/// Reads one profile: found, or unclear when it has no canonical form.
pub(super) fn read(kind: &RecordKind, payload: &RawValue) -> Result<Look, PlatformError> {
    let head: Head = serde_json::from_str(payload.get())
        .map_err(|_| PlatformError::Unexpected { what: "a profile without an id".to_owned() })?;
    let id = ExternalId::new(head.id);
    // `updated` is a hint; one that cannot be read is as good as none.
    let version = head.attributes.updated.and_then(|updated| updated.parse().ok());
    Ok(match kind.snapshot(id.clone(), payload, version) {
        Ok(snapshot) => Look::Found(snapshot),
        Err(error) => Look::unclear(&id, error.to_string()),
    })
}

/// Reads a list of profiles for a scan. One that cannot be judged is left out, and so looked at
/// by itself later.
pub(super) fn read_all(
    kind: &RecordKind,
    payloads: &[&RawValue],
) -> Result<Vec<Snapshot>, PlatformError> {
    let mut snapshots = Vec::with_capacity(payloads.len());
    for payload in payloads {
        match read(kind, payload)? {
            Look::Found(snapshot) => snapshots.push(snapshot),
            Look::Missing(id) | Look::Postponed(id) | Look::Unclear { external_id: id, .. } => {
                warn!(record.id = %id, "a record of a scan has no canonical form");
            }
        }
    }
    Ok(snapshots)
}
