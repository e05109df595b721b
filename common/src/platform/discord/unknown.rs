//! Keys that no document names: a sign that Discord's objects have changed, or that ours is an old
//! idea of them. They are counted, and do not count for the hash.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::drift::Shape;
use crate::platform::RecordKind;
use crate::platform::discord::records::{GUILD, MEMBER, ROLE};

/// How many keys of a record no document names. Only its own: objects below it are not searched.
pub(super) fn unknown_keys(kind: &RecordKind, payload: &RawValue) -> u64 {
    let Ok(record) = serde_json::from_str::<BTreeMap<String, &RawValue>>(payload.get()) else {
        return 0;
    };
    let Shape::Object(fields) = kind.shape else { return 0 };
    let known = |key: &str| {
        fields.iter().any(|field| field.name == key) || documented_besides(kind.name).contains(&key)
    };
    record.keys().filter(|key| !known(key)).count() as u64
}

/// What the documents name and what does not count.
fn documented_besides(record: &str) -> &'static [&'static str] {
    match record {
        GUILD => &[
            "approximate_member_count",
            "approximate_presence_count",
            "icon_hash",
            "max_presences",
            "owner",
            "permissions",
            "premium_subscription_count",
            "region",
            "welcome_screen",
        ],
        MEMBER => &["permissions"],
        ROLE => &["color"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tests::kind;

    fn unknown(record: &str, payload: &str) -> u64 {
        unknown_keys(kind("discord", record), serde_json::from_str(payload).unwrap())
    }

    #[test]
    fn the_documents_own_samples_have_no_unknown_key_and_a_recorded_one_has() {
        for (record, sample) in [
            (GUILD, include_str!("samples/guild.json")),
            (MEMBER, include_str!("samples/guild-member.json")),
            (ROLE, include_str!("samples/role.json")),
            ("entitlement", include_str!("samples/entitlement.json")),
        ] {
            assert_eq!(unknown(record, sample), 0, "{record}");
        }
        assert_eq!(unknown(MEMBER, r#"{"user":{"id":"1"},"hoisted_role":null,"new":[]}"#), 2);
        for odd in ["[]", "1", "null"] {
            assert_eq!(unknown(MEMBER, odd), 0);
        }
    }
}
