//! How records of one type are compared: the platform's shape, less what a person excluded.

use common::drift::{
    Canonical, CanonicalError, ContentHash, Excluded, canonical_at, content_hash, difference,
};
use common::ids::ConnectionId;
use common::platform::{RecordKind, Snapshot};
use common::store::records::{Finding, Rehash, StoredRecord};
use common::store::{Store, StoreError};
use jiff::Timestamp;
use serde_json::value::RawValue;

/// See the module.
pub(super) struct Form<'a> {
    kind: &'a RecordKind,
    excluded: Excluded,
}

impl<'a> Form<'a> {
    /// As it is now: what is excluded may change between two batches.
    pub(super) async fn of(
        store: &dyn Store,
        connection: ConnectionId,
        kind: &'a RecordKind,
    ) -> Result<Self, StoreError> {
        let excluded = store.excluded(connection, &kind.name.into()).await?;
        Ok(Self { kind, excluded })
    }

    /// What is written of a record that is there.
    ///
    /// - `stored`: what is mirrored of it.
    pub(super) fn found(
        &self,
        snapshot: Snapshot,
        stored: Option<&StoredRecord>,
        now: Timestamp,
    ) -> Finding {
        let hash = if self.excluded.is_empty() {
            snapshot.hash
        } else {
            match self.hash(snapshot.payload.get(), now) {
                Ok(hash) => hash,
                Err(error) => return Finding::Unclear { reason: error.to_string() },
            }
        };
        let schema_version = self.excluded.version(self.kind.schema_version);
        let rehash = stored
            .filter(|old| old.schema_version != schema_version)
            .and_then(|old| Some((old.hash?, old.payload.as_deref()?)))
            .and_then(|(of, payload)| Some(Rehash { of, hash: self.hash(payload, now).ok()? }));
        let old = stored.and_then(|old| {
            let mirrored = rehash.map_or(old.hash, |rehash| Some(rehash.hash))?;
            old.payload.as_deref().filter(|_| mirrored != hash)
        });
        let diff = old.and_then(|old| self.diff(old, snapshot.payload.get(), now));
        let Snapshot { payload, version: remote_version, .. } = snapshot;
        Finding::Found { payload, hash, schema_version, remote_version, rehash, diff }
    }

    /// The difference, for the history.
    fn diff(&self, old: &str, new: &str, now: Timestamp) -> Option<Box<RawValue>> {
        let old = self.canonical(old, Timestamp::MIN).ok()?;
        let new = self.canonical(new, now).ok()?;
        serde_json::value::to_raw_value(&difference(&old, &new).ok()?).ok()
    }

    fn hash(&self, payload: &str, now: Timestamp) -> Result<ContentHash, CanonicalError> {
        let canonical = self.canonical(payload, now)?;
        Ok(content_hash(self.kind.name, self.kind.schema_version, &canonical))
    }

    fn canonical(&self, payload: &str, now: Timestamp) -> Result<Canonical, CanonicalError> {
        self.excluded.without(canonical_at(payload, self.kind.shape, now)?)
    }
}
