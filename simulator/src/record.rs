//! A record of a platform: what it is now, and what its readers are shown meanwhile.

use std::collections::VecDeque;
use std::str::FromStr;
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
    /// Profiles, lists and who is on them; signed webhooks; JSON:API.
    Klaviyo,
    /// Events, attendees, orders; unsigned pointers.
    Eventbrite,
    /// Campaigns, tiers, members; signed documents; JSON:API with nothing in it by default.
    Patreon,
    /// Guilds, roles, members, entitlements; signed events for the last, a gateway for the rest.
    Discord,
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|platform| platform.name() == name);
        found.ok_or_else(|| format!("there is no platform {name:?}"))
    }
}

impl Platform {
    /// All of them, in the order of their statistics.
    pub const ALL: [Self; 4] = [Self::Klaviyo, Self::Eventbrite, Self::Patreon, Self::Discord];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Klaviyo => "klaviyo",
            Self::Eventbrite => "eventbrite",
            Self::Patreon => "patreon",
            Self::Discord => "discord",
        }
    }

    /// What it holds; the first kind is the one that a change by hand means if it names none.
    pub(crate) fn record_types(self) -> &'static [RecordType] {
        match self {
            Self::Klaviyo => &[RecordType::Profile, RecordType::List, RecordType::Membership],
            Self::Eventbrite => &[RecordType::Attendee, RecordType::Event, RecordType::Order],
            Self::Patreon => &[RecordType::Member, RecordType::Campaign, RecordType::Tier],
            Self::Discord => {
                &[RecordType::Member, RecordType::Guild, RecordType::Role, RecordType::Entitlement]
            }
        }
    }
}

/// What kind of thing a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordType {
    /// A person, on Klaviyo.
    Profile,
    /// A list of persons, on Klaviyo.
    List,
    /// That a person is on a list, on Klaviyo: `<list id>/<profile id>`.
    Membership,
    /// A happening that sells tickets, on Eventbrite.
    Event,
    /// A ticket holder, on Eventbrite: `<event id>/<attendee id>`.
    Attendee,
    /// A purchase, on Eventbrite.
    Order,
    /// What a creator asks support for, on Patreon.
    Campaign,
    /// A level of support, on Patreon, which only shows it with its campaign:
    /// `<campaign id>/<tier id>`.
    Tier,
    /// A supporter, on Patreon (a UUID); somebody in a guild, on Discord: `<guild id>/<user id>`.
    Member,
    /// A community, on Discord.
    Guild,
    /// What members may do and are called, on Discord: `<guild id>/<role id>`.
    Role,
    /// What a user has bought from an application, on Discord.
    Entitlement,
}

/// Which record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId {
    /// Its kind.
    pub record_type: RecordType,
    /// Its id on the platform, behind that of what it belongs to where the platform asks for both.
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

    /// The event, list, campaign or guild to which it belongs.
    pub(crate) fn parent(&self) -> Option<&str> {
        self.external_id.split_once('/').map(|(parent, _)| parent)
    }
}

/// What a record looks like between two changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version {
    /// Klaviyo's `updated`, Eventbrite's `changed`, elsewhere only for the truth; whole seconds.
    pub(crate) changed: Timestamp,
    /// All else.
    pub(crate) fields: Fields,
}

impl Version {
    /// The text in a field; empty when there is none.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The texts in an array; empty when there is none.
    pub(crate) fn texts(&self, field: &str) -> Vec<&str> {
        let items = self.fields.get(field).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).collect()
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
    pub(crate) fn write(&mut self, version: Option<Arc<Version>>, visible: Instant, now: Instant) {
        self.latest = version;
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
        record.write(Some(Arc::new(version(2))), start + Duration::from_secs(5), start);
        record.write(None, start + Duration::from_secs(1), start);

        assert_eq!(record.latest(), None);
        let seen = |after| record.seen_at(start + Duration::from_secs(after)).map(|v| v.changed);
        assert_eq!(seen(4), Some(version(1).changed), "still the state before");
        assert_eq!(seen(5), None, "the later change does not overtake the earlier one");
    }
}
