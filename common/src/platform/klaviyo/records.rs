//! Profiles, lists, list memberships and events: what counts of them, and how they come.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::warn;

use crate::drift::{Field, Shape};
use crate::ids::ExternalId;
use crate::platform::{Look, PlatformError, RecordKind, Snapshot};

pub(super) const PROFILE: &str = "profile";
pub(super) const LIST: &str = "list";
pub(super) const MEMBERSHIP: &str = "list-membership";
pub(super) const EVENT: &str = "event";

/// Batches are what one page holds, a hundred profiles or ten lists; of memberships half as many,
/// since they are asked for by e-mail address and a URL has an end.
pub(super) static KINDS: [RecordKind; 4] = [
    RecordKind {
        name: PROFILE,
        schema_version: 1,
        batch: 100,
        changed_since: true,
        lists_edits: true,
        mirrored: true,
        shape: &PROFILE_SHAPE,
    },
    RecordKind {
        name: LIST,
        schema_version: 1,
        batch: 10,
        changed_since: true,
        lists_edits: true,
        mirrored: true,
        shape: &LIST_SHAPE,
    },
    RecordKind {
        name: MEMBERSHIP,
        schema_version: 1,
        batch: 50,
        changed_since: true,
        // By when somebody joined; who left is not on the list.
        lists_edits: false,
        mirrored: true,
        shape: &MEMBERSHIP_SHAPE,
    },
    // They never change and there is no end of them: what they are good for is to tell which
    // profiles did something.
    RecordKind {
        name: EVENT,
        schema_version: 1,
        batch: 1,
        changed_since: true,
        lists_edits: false,
        mirrored: false,
        shape: &EVENT_SHAPE,
    },
];

// Left out of all of them: `links`, and `updated`, which moves with whatever happens and is the
// version.

/// Left out, because they move although nobody edits the profile: `last_event_date`,
/// `location.ip`, `predictive_analytics`; and relationships, which are records of their own.
static PROFILE_SHAPE: Shape = Shape::Object(&[
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

static LIST_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::object(
        "attributes",
        &[Field::whole("name"), Field::instant("created"), Field::whole("opt_in_process")],
    ),
]);

/// The profile as a list shows it. What else the list tells of the profile counts there.
static MEMBERSHIP_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::object("attributes", &[Field::instant("joined_group_at")]),
]);

const REFERENCE: &[Field] = &[Field::object("data", &[Field::whole("type"), Field::whole("id")])];

/// `datetime` has a space where the times of profiles have a T.
static EVENT_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::object(
        "attributes",
        &[
            Field::whole("timestamp"),
            Field::of("event_properties", Shape::Verbatim),
            Field::instant("datetime"),
            Field::whole("uuid"),
        ],
    ),
    Field::object(
        "relationships",
        &[Field::object("profile", REFERENCE), Field::object("metric", REFERENCE)],
    ),
]);

/// Whether a text can be an id, and be put between quotes in a filter.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// A membership's id: its list's and its profile's.
pub(super) fn membership_id(list: &str, profile: &str) -> ExternalId {
    ExternalId::new(format!("{list}/{profile}"))
}

/// The two parts of a membership's id.
pub(super) fn membership_parts(id: &ExternalId) -> Option<(&str, &str)> {
    id.as_str().split_once('/').filter(|(list, profile)| is_id(list) && is_id(profile))
}

/// What the adapter itself needs of a record.
#[derive(Deserialize)]
struct Head {
    id: String,
    attributes: Option<Attributes>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    updated: Value,
    joined_group_at: Value,
}

/// Reads one record: found, or unclear when it has no canonical form.
///
/// - `list`: for a membership, the list that showed it.
pub(super) fn read(
    kind: &RecordKind,
    list: &str,
    payload: &RawValue,
) -> Result<Look, PlatformError> {
    let head: Head = serde_json::from_str(payload.get()).map_err(|_| {
        PlatformError::Unexpected { what: format!("a {} without an id", kind.name) }
    })?;
    let attributes = head.attributes.unwrap_or_default();
    let (id, version) = if kind.name == MEMBERSHIP {
        (membership_id(list, &head.id), attributes.joined_group_at)
    } else {
        (ExternalId::new(head.id), attributes.updated)
    };
    // A hint; one that cannot be read is as good as none.
    let version = version.as_str().and_then(|version| version.parse().ok());
    Ok(match kind.snapshot(id.clone(), payload, version) {
        Ok(snapshot) => Look::Found(snapshot),
        Err(error) => Look::unclear(&id, error.to_string()),
    })
}

/// Reads the records of a page for a scan. One that cannot be judged is left out, and so looked at
/// by itself later.
pub(super) fn read_all(
    kind: &RecordKind,
    list: &str,
    payloads: &[&RawValue],
) -> Result<Vec<Snapshot>, PlatformError> {
    let mut snapshots = Vec::with_capacity(payloads.len());
    for payload in payloads {
        match read(kind, list, payload)? {
            Look::Found(snapshot) => snapshots.push(snapshot),
            other => {
                warn!(record.id = %other.external_id(), "a record of a scan has no canonical form");
            }
        }
    }
    Ok(snapshots)
}
