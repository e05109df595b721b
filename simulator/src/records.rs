//! The truth about an account's records, and the ways to change it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::account::account_config;
use crate::chance::Chance;
use crate::clock::whole_seconds;
use crate::config::Config;
use crate::content;
use crate::record::{Platform, Record, RecordId, RecordType, Version};

/// How a record changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Content changes.
    Edit,
    /// Only dates and counters that a mirror leaves out move.
    Touch,
    /// A status is moved by the clock: content, but neither `changed` nor a webhook (Eventbrite's
    /// events), or the end of an open order's time.
    Clock,
    /// A new record.
    Create,
    /// Gone; where the platform deletes softly, it stays with another status.
    Delete,
    /// One profile becomes part of another (Klaviyo): its id answers no more.
    Merge,
}

/// A change that took place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) id: RecordId,
    /// The webhooks that tell of it, if the platform has any.
    pub(crate) actions: &'static [&'static str],
    /// The record afterwards, or what it was before it went.
    pub(crate) version: Arc<Version>,
}

/// What a change does to one record.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) kind: ChangeKind,
    pub(crate) id: RecordId,
    /// `None` when it goes.
    pub(crate) next: Option<Version>,
    pub(crate) actions: &'static [&'static str],
}

/// Why a change by hand did not take place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// No such record, or it is deleted.
    #[error("there is no such record, or it is deleted")]
    NoRecord,
    /// The platform does not do that with such records.
    #[error("the platform has no such change for such a record")]
    NotPossible,
    /// Eventbrite deletes no event that has attendees or orders.
    #[error("the event has attendees or orders")]
    InUse,
}

/// The same moment on the wall and for the timers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    pub(crate) timer: Instant,
}

/// All records of one account, deleted ones included.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) platform: Platform,
    pub(crate) config: Arc<Config>,
    stale: (Duration, Duration),
    lag: Chance,
    numbers: u64,
    map: BTreeMap<RecordId, Record>,
    /// How the records that are gone went.
    gone: BTreeMap<RecordId, ChangeKind>,
}

impl Records {
    /// The records at the start; the same for the same seed.
    pub(crate) fn generate(platform: Platform, config: &Arc<Config>) -> Self {
        let stream =
            |purpose: &str| Chance::of(config.seed, &format!("{} {purpose}", platform.name()));
        let mut chance = stream("records");
        let mut records = Self {
            platform,
            config: Arc::clone(config),
            stale: account_config(platform, config).stale(),
            lag: stream("staleness"),
            numbers: 0,
            map: BTreeMap::new(),
            gone: BTreeMap::new(),
        };
        for (record_type, count) in content::sizes(platform, config) {
            for _ in 0..count {
                if let Some((id, version)) = records.make(record_type, None, &mut chance, None) {
                    records.map.insert(id, Record::settled(version));
                }
            }
        }
        records
    }

    /// The ids of all records that are not deleted.
    pub(crate) fn live_ids(&self, record_type: RecordType) -> Vec<RecordId> {
        self.live(record_type).map(|(id, _)| id.clone()).collect()
    }

    /// All records of a kind that are not deleted.
    pub(crate) fn live(
        &self,
        record_type: RecordType,
    ) -> impl Iterator<Item = (&RecordId, &Arc<Version>)> {
        let of_type = self.map.iter().filter(move |(id, _)| id.record_type == record_type);
        of_type.filter_map(|(id, record)| Some((id, record.latest()?)))
    }

    /// Every record with its latest state; `None` for deleted ones.
    pub(crate) fn latest(&self) -> impl Iterator<Item = (&RecordId, Option<&Arc<Version>>)> {
        self.map.iter().map(|(id, record)| (id, record.latest()))
    }

    /// A record that is not deleted, as it is now.
    pub(crate) fn now(&self, id: &RecordId) -> Option<&Arc<Version>> {
        self.map.get(id)?.latest()
    }

    /// What a reader sees of one record.
    pub(crate) fn seen(&self, id: &RecordId, now: Instant) -> Option<Arc<Version>> {
        self.map.get(id)?.seen_at(now).cloned()
    }

    /// How a record went; `None` for one that lives or never was.
    pub(crate) fn gone_by(&self, id: &RecordId) -> Option<ChangeKind> {
        self.gone.get(id).copied()
    }

    /// What a reader sees of all records of a kind, by id.
    pub(crate) fn seen_all(
        &self,
        record_type: RecordType,
        now: Instant,
    ) -> Vec<(RecordId, Arc<Version>)> {
        let of_type = self.map.iter().filter(|(id, _)| id.record_type == record_type);
        of_type
            .filter_map(|(id, record)| Some((id.clone(), Arc::clone(record.seen_at(now)?))))
            .collect()
    }

    /// From when on every read shows the truth, if nothing changes any more.
    pub(crate) fn settled_at(&self) -> Option<Instant> {
        self.map.values().filter_map(Record::settled_at).max()
    }

    /// Makes a new record, the `wanted` one where the platform lets somebody choose.
    pub(crate) fn create(
        &mut self,
        record_type: RecordType,
        wanted: Option<&str>,
        chance: &mut Chance,
        at: Moment,
    ) -> Result<Change, ChangeError> {
        let made = self.make(record_type, wanted, chance, Some(at.wall));
        let (id, version) = made.ok_or(ChangeError::NotPossible)?;
        let actions = content::actions_of_creation(self.platform, record_type, &version);
        let kind = ChangeKind::Create;
        let version = Arc::new(version);
        self.gone.remove(&id);
        self.write(&id, Some(Arc::clone(&version)), at);
        // A guild is not without `@everyone`.
        if record_type == RecordType::Guild {
            self.create(RecordType::Role, Some(&id.external_id), chance, at)?;
        }
        Ok(Change { kind, id, actions, version })
    }

    /// Alters a record in any other way; the first change is the one that was asked for, the rest
    /// follows from it.
    pub(crate) fn alter(
        &mut self,
        kind: ChangeKind,
        id: &RecordId,
        chance: &mut Chance,
        at: Moment,
    ) -> Result<Vec<Change>, ChangeError> {
        let before = self.now(id).cloned().ok_or(ChangeError::NoRecord)?;
        let mut version = Version::clone(&before);
        version.changed = whole_seconds(at.wall).max(before.changed);
        let writes = content::alter(self, kind, id, version, chance, at.wall)?;
        let mut changes = Vec::new();
        for Write { kind, id, next, actions } in writes {
            let before = self.now(&id).cloned();
            let next = next.map(Arc::new);
            let Some(version) = next.clone().or(before) else { continue };
            if next.is_none() {
                self.gone.insert(id.clone(), kind);
            }
            self.write(&id, next, at);
            changes.push(Change { kind, id, actions, version });
        }
        Ok(changes)
    }

    fn write(&mut self, id: &RecordId, version: Option<Arc<Version>>, at: Moment) {
        let visible = at.timer + self.lag.between(self.stale.0, self.stale.1);
        let record = self.map.entry(id.clone()).or_insert_with(Record::unseen);
        record.write(version, visible, at.timer);
    }

    /// A new record; `None` when this account has no such records or nothing it could belong to.
    fn make(
        &mut self,
        record_type: RecordType,
        wanted: Option<&str>,
        chance: &mut Chance,
        at: Option<Timestamp>,
    ) -> Option<(RecordId, Version)> {
        self.numbers += 1;
        let made = content::make(self, record_type, wanted, self.numbers, chance, at)?;
        // What lives already cannot be made once more.
        self.now(&made.0).is_none().then_some(made)
    }
}
