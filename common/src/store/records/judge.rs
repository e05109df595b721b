//! What becomes of a record, from what is mirrored and what was found. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Finding, Flags, Outcome};
use crate::drift::ContentHash;
use crate::freshness::grid::GridEvidence;
use crate::ids::Fence;

/// The version of a row: when the fetch began that wrote it, then the fence it was written under.
/// A later one wins, whatever the order in which the writes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    /// Postgres' clock.
    pub(super) fetched_at: Timestamp,
    /// Decides between fetches of one instant.
    pub(super) fence: Fence,
}

/// What the mirror holds of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Version of the row.
    pub(super) stamp: Stamp,
    /// `None` when the record was never there.
    pub(super) hash: Option<ContentHash>,
    /// What the hash was made by.
    pub(super) schema_version: i32,
    /// When it last changed, in the platform's own words.
    pub(super) remote_version: Option<Timestamp>,
    /// Deleted, suspected.
    pub(super) flags: Flags,
    /// When the look began that found it missing first.
    pub(super) missing_since: Option<Timestamp>,
    /// The last time it was known to be true.
    pub(super) last_verified_at: Timestamp,
    /// When the look began that last found it different.
    pub(super) changed_at: Timestamp,
    /// What was seen of its habits.
    pub(super) evidence: Option<GridEvidence>,
}

impl Held {
    /// A record that no write has told of.
    pub(super) const NOTHING: Self = Self {
        stamp: Stamp { fetched_at: Timestamp::MIN, fence: Fence(i64::MIN) },
        hash: None,
        schema_version: 0,
        remote_version: None,
        flags: Flags(0),
        missing_since: None,
        last_verified_at: Timestamp::MIN,
        changed_at: Timestamp::MIN,
        evidence: None,
    };
}

/// What becomes of a record of which the mirror has `held` when a look with version `stamp` has
/// this `finding`.
///
/// A look of the same version as the row is not stale: the same write, sent twice, is harmless.
pub(super) fn judge(
    held: &Held,
    finding: &Finding,
    stamp: Stamp,
    confirm_after: Duration,
) -> Outcome {
    let deleted = held.flags.contains(Flags::DELETED);
    match (finding, held.hash) {
        (Finding::Unclear { .. } | Finding::OutOfReach { .. }, _) => Outcome::Unclear,
        _ if held.stamp > stamp => Outcome::Stale,

        (Finding::Found { .. }, None) => Outcome::Created,
        (Finding::Found { .. }, Some(_)) if deleted => Outcome::Restored,
        (Finding::Found { hash, schema_version, rehash, .. }, Some(held_hash)) => {
            if *schema_version == held.schema_version {
                if hash.0 == held_hash.0 { Outcome::Unchanged } else { Outcome::Changed }
            } else {
                // What is mirrored, by the rules of today. Another write may have come between.
                match rehash {
                    Some(mirrored) if mirrored.of == held_hash && mirrored.hash != *hash => {
                        Outcome::Changed
                    }
                    _ => Outcome::Rehashed,
                }
            }
        }

        (Finding::Missing | Finding::Gone, None) => Outcome::Absent,
        (Finding::Missing | Finding::Gone, Some(_)) if deleted => Outcome::Unchanged,
        (Finding::Gone, Some(_)) => Outcome::Deleted,
        (Finding::Missing, Some(_)) => match held.missing_since {
            // Strictly later, so that one look sent twice does not confirm itself. A row that was
            // written before it was missed has only been missing from a list: that is no look.
            Some(since)
                if held.stamp.fetched_at >= since
                    && stamp.fetched_at > since
                    && stamp.fetched_at.duration_since(since)
                        >= SignedDuration::try_from(confirm_after)
                            .unwrap_or(SignedDuration::MAX) =>
            {
                Outcome::Deleted
            }
            _ => Outcome::Suspected,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rehash;
    use super::*;

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + n).unwrap()
    }

    fn found(hash: u8, schema_version: i32) -> Finding {
        Finding::Found {
            payload: serde_json::value::RawValue::from_string("{}".to_owned()).unwrap(),
            hash: ContentHash([hash; 16]),
            schema_version,
            remote_version: None,
            rehash: None,
            diff: None,
        }
    }

    /// The same, with what is mirrored as `old` by the rules of today.
    fn found_over(mirrored: u8, old: u8, hash: u8, schema_version: i32) -> Finding {
        let hash_of = |n| ContentHash([n; 16]);
        let Finding::Found { payload, hash, remote_version, diff, .. } =
            found(hash, schema_version)
        else {
            unreachable!()
        };
        let rehash = Some(Rehash { of: hash_of(mirrored), hash: hash_of(old) });
        Finding::Found { payload, hash, schema_version, remote_version, rehash, diff }
    }

    #[test]
    fn each_finding_leads_to_one_outcome() {
        let stamp = |at, fence| Stamp { fetched_at: second(at), fence: Fence(fence) };
        let mirrored = Held {
            stamp: stamp(100, 5),
            hash: Some(ContentHash([1; 16])),
            schema_version: 1,
            ..Held::NOTHING
        };
        let suspected =
            Held { flags: Flags::SUSPECTED, missing_since: Some(second(100)), ..mirrored };
        let unseen = Held { stamp: stamp(90, 5), ..suspected };
        let deleted = Held { flags: Flags::DELETED, missing_since: Some(second(90)), ..mirrored };
        let unclear = || Finding::Unclear { reason: "too young".to_owned() };
        let out_of_reach = || Finding::OutOfReach { reason: "no access".to_owned() };

        // what is mirrored, when the look began and its fence, what it found, what becomes of it
        let cases = [
            ("nothing", Held::NOTHING, (1, 1), found(1, 1), Outcome::Created),
            ("nothing", Held::NOTHING, (1, 1), Finding::Missing, Outcome::Absent),
            ("mirrored", mirrored, (101, 6), found(1, 1), Outcome::Unchanged),
            ("mirrored", mirrored, (101, 6), found(2, 1), Outcome::Changed),
            ("mirrored", mirrored, (101, 6), found(2, 2), Outcome::Rehashed),
            ("mirrored, same", mirrored, (101, 6), found_over(1, 2, 2, 2), Outcome::Rehashed),
            ("mirrored, other", mirrored, (101, 6), found_over(1, 3, 2, 2), Outcome::Changed),
            ("mirrored since", mirrored, (101, 6), found_over(9, 3, 2, 2), Outcome::Rehashed),
            ("mirrored", mirrored, (101, 6), Finding::Missing, Outcome::Suspected),
            ("mirrored", mirrored, (101, 6), unclear(), Outcome::Unclear),
            ("mirrored", mirrored, (101, 6), out_of_reach(), Outcome::Unclear),
            ("mirrored", mirrored, (101, 6), Finding::Gone, Outcome::Deleted),
            ("nothing", Held::NOTHING, (1, 1), Finding::Gone, Outcome::Absent),
            ("a later fetch", mirrored, (99, 9), Finding::Gone, Outcome::Stale),
            ("suspected", suspected, (101, 6), Finding::Gone, Outcome::Deleted),
            ("suspected", suspected, (999, 6), out_of_reach(), Outcome::Unclear),
            ("deleted", deleted, (101, 6), Finding::Gone, Outcome::Unchanged),
            ("a later fetch", mirrored, (99, 9), found(2, 1), Outcome::Stale),
            ("a later fetch", mirrored, (99, 9), Finding::Missing, Outcome::Stale),
            ("a later fetch", mirrored, (99, 9), unclear(), Outcome::Unclear),
            ("a later fence", mirrored, (100, 4), found(2, 1), Outcome::Stale),
            ("an earlier fence", mirrored, (100, 6), found(2, 1), Outcome::Changed),
            ("itself", mirrored, (100, 5), found(1, 1), Outcome::Unchanged),
            ("suspected", suspected, (129, 6), Finding::Missing, Outcome::Suspected),
            ("suspected", suspected, (130, 6), Finding::Missing, Outcome::Deleted),
            ("suspected", suspected, (130, 6), found(1, 1), Outcome::Unchanged),
            ("unseen", unseen, (999, 6), Finding::Missing, Outcome::Suspected),
            ("deleted", deleted, (101, 6), Finding::Missing, Outcome::Unchanged),
            ("deleted", deleted, (101, 6), found(1, 1), Outcome::Restored),
        ];
        for (name, held, (at, fence), finding, expected) in cases {
            let actual = judge(&held, &finding, stamp(at, fence), Duration::from_secs(30));
            assert_eq!(actual, expected, "{name} at {at}/{fence}: {finding:?}");
        }
    }

    #[test]
    fn one_look_sent_twice_does_not_confirm_itself() {
        let stamp = Stamp { fetched_at: second(100), fence: Fence(5) };
        let held = Held {
            stamp,
            hash: Some(ContentHash([1; 16])),
            flags: Flags::SUSPECTED,
            missing_since: Some(second(100)),
            ..Held::NOTHING
        };
        assert_eq!(judge(&held, &Finding::Missing, stamp, Duration::ZERO), Outcome::Suspected);
    }
}
