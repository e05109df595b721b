//! A record of a platform: what it is now, and what its readers are shown meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

/// Fields of a record by name.
pub(crate) type Fields = Map<String, Value>;

/// A simulated platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Profiles; signed webhooks; JSON:API.
    Klaviyo,
    /// Events, attendees, orders; unsigned pointers.
    Eventbrite,
}

impl Platform {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Klaviyo => "klaviyo",
            Self::Eventbrite => "eventbrite",
        }
    }
}

/// What kind of thing a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordType {
    /// A person, on Klaviyo.
    Profile,
    /// A happening that sells tickets, on Eventbrite.
    Event,
    /// A ticket holder, on Eventbrite.
    Attendee,
    /// A purchase, on Eventbrite.
    Order,
}

/// Which record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId {
    /// Its kind.
    pub record_type: RecordType,
    /// Its id on the platform; for an attendee `<event id>/<attendee id>`.
    pub external_id: String,
}

impl RecordId {
    /// The id of that kind.
    pub fn new(record_type: RecordType, external_id: impl Into<String>) -> Self {
        Self { record_type, external_id: external_id.into() }
    }

    /// The part that stands in the record's own `id` field.
    pub(crate) fn own(&self) -> &str {
        self.external_id.rsplit('/').next().unwrap_or(&self.external_id)
    }

    /// The event to which an attendee belongs.
    pub(crate) fn event(&self) -> Option<&str> {
        self.external_id.split_once('/').map(|(event, _)| event)
    }
}

/// What a record looks like between two changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version {
    /// Klaviyo's `updated`, Eventbrite's `changed`; whole seconds.
    pub(crate) changed: Timestamp,
    /// All else.
    pub(crate) fields: Fields,
}

impl Version {
    /// The text in a field; empty when there is none.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A record with the states that readers are still to be shown.
#[derive(Debug)]
pub(crate) struct Record {
    latest: Option<Arc<Version>>,
    shown: Option<Arc<Version>>,
    upcoming: VecDeque<(Instant, Option<Arc<Version>>)>,
}

/// States in waiting that one record keeps; beyond it the oldest is shown early.
const UPCOMING: usize = 64;

impl Record {
    /// A record that everybody has been able to see for long.
    pub(crate) fn settled(version: Version) -> Self {
        let version = Some(Arc::new(version));
        Self { latest: version.clone(), shown: version, upcoming: VecDeque::new() }
    }

    /// A record that nobody sees before its first [`Record::write`].
    pub(crate) fn unseen() -> Self {
        Self { latest: None, shown: None, upcoming: VecDeque::new() }
    }

    /// The state now; `None` when it is deleted.
    pub(crate) fn latest(&self) -> Option<&Arc<Version>> {
        self.latest.as_ref()
    }

    /// What a reader is shown at `now`: the last state whose time has come.
    pub(crate) fn seen_at(&self, now: Instant) -> Option<&Arc<Version>> {
        let due = self.upcoming.iter().take_while(|(at, _)| *at <= now).last();
        due.map_or(self.shown.as_ref(), |(_, version)| version.as_ref())
    }

    /// Changes the record (`None` deletes it); readers see it from `visible` on, and never before
    /// an earlier change.
    pub(crate) fn write(&mut self, version: Option<Version>, visible: Instant, now: Instant) {
        self.latest = version.map(Arc::new);
        let visible = self.upcoming.back().map_or(visible, |(last, _)| visible.max(*last));
        self.upcoming.push_back((visible, self.latest.clone()));
        while self.upcoming.front().is_some_and(|(at, _)| *at <= now)
            || self.upcoming.len() > UPCOMING
        {
            if let Some((_, version)) = self.upcoming.pop_front() {
                self.shown = version;
            }
        }
    }

    /// From when on readers see the latest state.
    pub(crate) fn settled_at(&self) -> Option<Instant> {
        self.upcoming.back().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn version(second: i64) -> Version {
        Version { changed: Timestamp::from_second(second).unwrap(), fields: Fields::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn readers_see_changes_late_but_in_order() {
        let start = Instant::now();
        let mut record = Record::settled(version(1));
        record.write(Some(version(2)), start + Duration::from_secs(5), start);
        record.write(None, start + Duration::from_secs(1), start);

        assert_eq!(record.latest(), None);
        let seen = |after| record.seen_at(start + Duration::from_secs(after)).map(|v| v.changed);
        assert_eq!(seen(4), Some(version(1).changed), "still the state before");
        assert_eq!(seen(5), None, "the later change does not overtake the earlier one");
    }
}
