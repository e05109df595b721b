//! The truth about an account's records, and the three ways to change it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::clock::whole_seconds;
use crate::content::{eventbrite, klaviyo};
use crate::record::{Platform, Record, RecordId, RecordType, Version};

/// How a record changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Content changes.
    Edit,
    /// Only dates and counters that a mirror leaves out move (Klaviyo).
    Touch,
    /// A status is moved by the clock: content, but neither `changed` nor a webhook (events).
    Clock,
    /// A new record.
    Create,
    /// Gone; an Eventbrite attendee stays with status `Deleted`.
    Delete,
}

/// A change that took place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) id: RecordId,
    /// The webhook that tells of it, if the platform has one.
    pub(crate) action: Option<&'static str>,
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

/// How many records of each kind there are at the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    pub(crate) profiles: usize,
    pub(crate) events: usize,
    pub(crate) attendees: usize,
    pub(crate) orders: usize,
}

/// All records of one account, deleted ones included.
#[derive(Debug)]
pub(crate) struct Records {
    platform: Platform,
    organization: String,
    stale: (Duration, Duration),
    lag: Chance,
    numbers: u64,
    map: BTreeMap<RecordId, Record>,
}

impl Records {
    /// The records at the start; the same for the same seed.
    pub(crate) fn generate(
        platform: Platform,
        organization: &str,
        sizes: Sizes,
        stale: (Duration, Duration),
        seed: u64,
    ) -> Self {
        let mut chance = Chance::of(seed, &format!("{} records", platform.name()));
        let mut records = Self {
            platform,
            organization: organization.to_owned(),
            stale,
            lag: Chance::of(seed, &format!("{} staleness", platform.name())),
            numbers: 0,
            map: BTreeMap::new(),
        };
        let plan = [
            (RecordType::Profile, sizes.profiles),
            (RecordType::Event, sizes.events),
            (RecordType::Order, sizes.orders),
            (RecordType::Attendee, sizes.attendees),
        ];
        for (record_type, count) in plan {
            for _ in 0..count {
                if let Some((id, version)) = records.make(record_type, &mut chance, None) {
                    records.map.insert(id, Record::settled(version));
                }
            }
        }
        records
    }

    /// The ids of all records that are not deleted.
    pub(crate) fn live_ids(&self, record_type: RecordType) -> Vec<RecordId> {
        let of_type = self.map.iter().filter(|(id, _)| id.record_type == record_type);
        of_type.filter(|(_, r)| r.latest().is_some()).map(|(id, _)| id.clone()).collect()
    }

    /// Every record with its latest state; `None` for deleted ones.
    pub(crate) fn latest(&self) -> impl Iterator<Item = (&RecordId, Option<&Arc<Version>>)> {
        self.map.iter().map(|(id, record)| (id, record.latest()))
    }

    /// What a reader sees of one record.
    pub(crate) fn seen(&self, id: &RecordId, now: Instant) -> Option<Arc<Version>> {
        self.map.get(id)?.seen_at(now).cloned()
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

    /// Makes a new record.
    pub(crate) fn create(
        &mut self,
        record_type: RecordType,
        chance: &mut Chance,
        at: Moment,
    ) -> Result<Change, ChangeError> {
        let made = self.make(record_type, chance, Some(at.wall));
        let (id, version) = made.ok_or(ChangeError::NotPossible)?;
        self.map.insert(id.clone(), Record::unseen());
        self.write(&id, Some(version), at);
        let action = match record_type {
            RecordType::Profile => "profile",
            RecordType::Event => "event.created",
            RecordType::Attendee => "attendee.updated",
            RecordType::Order => "order.placed",
        };
        Ok(Change { kind: ChangeKind::Create, id, action: Some(action) })
    }

    /// Edits, touches or deletes a record, or lets the clock move it.
    pub(crate) fn alter(
        &mut self,
        kind: ChangeKind,
        id: &RecordId,
        chance: &mut Chance,
        at: Moment,
    ) -> Result<Change, ChangeError> {
        let latest = self.map.get(id).and_then(Record::latest).ok_or(ChangeError::NoRecord)?;
        let mut version = Version::clone(latest);
        if version.text("status") == "Deleted" {
            return Err(ChangeError::NoRecord);
        }
        let before = version.changed;
        version.changed = whole_seconds(at.wall).max(before);
        let fields = &mut version.fields;
        let (action, next) = match (kind, id.record_type) {
            (ChangeKind::Edit, RecordType::Profile) => {
                klaviyo::edit(fields, chance);
                (Some("profile"), Some(version))
            }
            (ChangeKind::Touch, RecordType::Profile) => {
                klaviyo::touch(fields, chance, at.wall);
                (Some("profile"), Some(version))
            }
            (ChangeKind::Edit, RecordType::Event) => {
                (Some(eventbrite::edit_event(fields, chance, at.wall)), Some(version))
            }
            (ChangeKind::Clock, RecordType::Event) => {
                if !eventbrite::advance_event(fields) {
                    return Err(ChangeError::NotPossible);
                }
                version.changed = before;
                (None, Some(version))
            }
            (ChangeKind::Edit, RecordType::Attendee) => {
                (Some(eventbrite::edit_attendee(fields, chance, at.wall)), Some(version))
            }
            (ChangeKind::Delete, RecordType::Attendee) => {
                eventbrite::delete_attendee(fields);
                (None, Some(version))
            }
            (ChangeKind::Edit, RecordType::Order) => {
                (Some(eventbrite::edit_order(fields, chance)), Some(version))
            }
            (ChangeKind::Delete, RecordType::Event) if self.in_use(&id.external_id) => {
                return Err(ChangeError::InUse);
            }
            (ChangeKind::Delete, RecordType::Event | RecordType::Order) => (None, None),
            // No delete topic exists; but what the person did before may still be told of.
            (ChangeKind::Delete, RecordType::Profile) => (Some("profile"), None),
            _ => return Err(ChangeError::NotPossible),
        };
        self.write(id, next, at);
        Ok(Change { kind, id: id.clone(), action })
    }

    fn write(&mut self, id: &RecordId, version: Option<Version>, at: Moment) {
        let visible = at.timer + self.lag.between(self.stale.0, self.stale.1);
        if let Some(record) = self.map.get_mut(id) {
            record.write(version, visible, at.timer);
        }
    }

    fn in_use(&self, event: &str) -> bool {
        let live = self.latest().filter_map(|(id, version)| Some((id, version?)));
        live.filter(|(id, _)| id.record_type != RecordType::Event)
            .any(|(_, version)| version.text("event_id") == event)
    }

    /// A new record; `None` when this account has no such records or nothing it could belong to.
    fn make(
        &mut self,
        record_type: RecordType,
        chance: &mut Chance,
        at: Option<Timestamp>,
    ) -> Option<(RecordId, Version)> {
        self.numbers += 1;
        let number = self.numbers;
        let organization = &self.organization;
        match (self.platform, record_type) {
            (Platform::Klaviyo, RecordType::Profile) => {
                let id = klaviyo::profile_id(chance);
                let version = klaviyo::profile(chance, number, at);
                Some((RecordId::new(record_type, id), version))
            }
            (Platform::Eventbrite, RecordType::Event) => {
                let id = format!("{}", 880_011_000_000 + number * 97);
                let version = eventbrite::event(chance, organization, &id, at);
                Some((RecordId::new(record_type, id), version))
            }
            (Platform::Eventbrite, RecordType::Order) => {
                let event = chance.pick(&self.live_ids(RecordType::Event))?.external_id.clone();
                let id = format!("{}", 9_100_000_000 + number * 31);
                let version = eventbrite::order(chance, &event, &id, at);
                Some((RecordId::new(record_type, id), version))
            }
            (Platform::Eventbrite, RecordType::Attendee) => {
                let order = chance.pick(&self.live_ids(RecordType::Order))?.clone();
                let event = self.map.get(&order)?.latest()?.text("event_id").to_owned();
                let id = format!("{}", 12_100_000_000 + number * 13);
                let version = eventbrite::attendee(chance, &event, order.own(), &id, at);
                Some((RecordId::new(record_type, format!("{event}/{id}")), version))
            }
            _ => None,
        }
    }
}
