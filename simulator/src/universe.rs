//! The life of an account: which record changes when, as random processes of the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use crate::account::account_config;
use crate::chance::Chance;
use crate::config::{ChangeConfig, Config};
use crate::record::{Platform, RecordId, RecordType};
use crate::records::{Change, ChangeError, ChangeKind, Moment, Records};

const HOUR: Duration = Duration::from_hours(1);

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Change(RecordId),
    Creation,
}

/// The records of an account and the plan of their spontaneous changes.
///
/// Each record changes as a Poisson process of its own rate; the rates are log-normal, so that
/// some records are hot and most are cold. Creations are one more process.
#[derive(Debug)]
pub(crate) struct Universe {
    pub(crate) records: Records,
    platform: Platform,
    changes: ChangeConfig,
    /// Chance of the spontaneous changes.
    plan: Chance,
    /// Chance of changes by hand, apart so that they do not alter the plan.
    hand: Chance,
    /// By time since the start, pauses left out. A record stays here with its mean wait.
    due: BinaryHeap<Reverse<(Duration, Due, Duration)>>,
    frozen: bool,
}

impl Universe {
    pub(crate) fn new(platform: Platform, config: &Arc<Config>) -> Self {
        let account = account_config(platform, config);
        let records = Records::generate(platform, config);
        let stream = |purpose| Chance::of(config.seed, &format!("{} {purpose}", platform.name()));
        let mut universe = Self {
            records,
            platform,
            changes: account.changes.clone(),
            plan: stream("plan"),
            hand: stream("hand"),
            due: BinaryHeap::new(),
            frozen: false,
        };
        for record_type in platform.record_types() {
            for id in universe.records.live_ids(*record_type) {
                universe.plan_record(id, Duration::ZERO);
            }
        }
        if let Some(mean) = mean_wait(universe.changes.creations_hour) {
            universe.plan(Due::Creation, mean, Duration::ZERO);
        }
        universe
    }

    /// Stops or resumes spontaneous changes.
    pub(crate) fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// When the next spontaneous change is due, in time since the start without pauses.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        if self.frozen { None } else { self.due.peek().map(|Reverse((at, ..))| *at) }
    }

    /// Makes the next spontaneous change, and what follows from it; nothing when frozen or when it
    /// comes to nothing (the record is deleted by now).
    pub(crate) fn step(&mut self, now: Moment) -> Vec<Change> {
        let next = if self.frozen { None } else { self.due.pop() };
        let Some(Reverse((at, due, mean))) = next else { return Vec::new() };
        let mut own = self.plan.branch();
        let changes = match due {
            Due::Creation => {
                self.plan(Due::Creation, mean, at);
                let record_type = self.kind_of_creation();
                let change = self.records.create(record_type, None, &mut own, now);
                if let Ok(change) = &change {
                    self.plan_record(change.id.clone(), at);
                }
                change.map(|change| vec![change])
            }
            Due::Change(id) => {
                let kind = self.kind_of_change(&id);
                let changes = self.records.alter(kind, &id, &mut own, now);
                if changes != Err(ChangeError::NoRecord) {
                    self.plan(Due::Change(id), mean, at);
                }
                changes
            }
        };
        changes.unwrap_or_default()
    }

    /// Makes a change by hand, to a random record where none is named.
    ///
    /// A record made by hand has no place in the plan: it changes by hand only.
    pub(crate) fn change(
        &mut self,
        kind: ChangeKind,
        record_type: Option<RecordType>,
        external_id: Option<&str>,
        now: Moment,
    ) -> Result<Vec<Change>, ChangeError> {
        let usual = self.platform.record_types().first().copied();
        let record_type = record_type.or(usual).ok_or(ChangeError::NotPossible)?;
        if kind == ChangeKind::Create {
            let created = self.records.create(record_type, external_id, &mut self.hand, now);
            return created.map(|change| vec![change]);
        }
        if let Some(external_id) = external_id {
            let id = RecordId::new(record_type, external_id);
            return self.records.alter(kind, &id, &mut self.hand, now);
        }
        let mut ids = self.records.live_ids(record_type);
        self.hand.shuffle(&mut ids);
        let mut outcome = Err(ChangeError::NoRecord);
        for id in ids {
            outcome = self.records.alter(kind, &id, &mut self.hand, now);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn plan_record(&mut self, id: RecordId, from: Duration) {
        let median = self.changes.per_record_hour;
        if median > 0.0 {
            let rate = self.plan.log_normal(median, self.changes.spread);
            if let Some(mean) = mean_wait(rate) {
                self.plan(Due::Change(id), mean, from);
            }
        }
    }

    fn plan(&mut self, due: Due, mean: Duration, from: Duration) {
        let at = from.saturating_add(self.plan.exponential(mean));
        self.due.push(Reverse((at, due, mean)));
    }

    fn kind_of_creation(&mut self) -> RecordType {
        match self.platform {
            Platform::Klaviyo => match self.plan.number(0, 20) {
                0..8 if self.records.config.klaviyo.lists == 0 => RecordType::Profile,
                0 => RecordType::List,
                1..8 => RecordType::Membership,
                _ => RecordType::Profile,
            },
            Platform::Eventbrite => match self.plan.number(0, 20) {
                0 => RecordType::Event,
                1..8 => RecordType::Order,
                _ => RecordType::Attendee,
            },
            Platform::Patreon => match self.plan.number(0, 20) {
                0 => RecordType::Tier,
                _ => RecordType::Member,
            },
            Platform::Discord => match self.plan.number(0, 20) {
                0 => RecordType::Role,
                1..4 => RecordType::Entitlement,
                _ => RecordType::Member,
            },
        }
    }

    fn kind_of_change(&mut self, id: &RecordId) -> ChangeKind {
        let deletes = self.plan.happens(self.changes.delete_share);
        let moves_only_volatile = self.plan.happens(self.changes.volatile_share);
        match id.record_type {
            RecordType::Profile if deletes && self.plan.happens(0.3) => ChangeKind::Merge,
            _ if deletes => ChangeKind::Delete,
            RecordType::Profile | RecordType::Guild if moves_only_volatile => ChangeKind::Touch,
            RecordType::Event if self.plan.happens(0.1) => ChangeKind::Clock,
            // Of a membership nothing comes: it can only end.
            _ => ChangeKind::Edit,
        }
    }
}

/// The mean time between the events of a process; `None` when it never happens.
fn mean_wait(per_hour: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(HOUR.as_secs_f64() / per_hour).ok()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::time::Instant;

    use super::*;

    fn busy(platform: Platform, seed: u64) -> Universe {
        Universe::new(platform, &Arc::new(Config::lively(seed)))
    }

    /// The first changes: when each was due, what it was, and the record afterwards.
    fn history(
        mut universe: Universe,
        by_hand: bool,
    ) -> Vec<(Duration, ChangeKind, RecordId, String)> {
        let (start, mut lines) = (Instant::now(), Vec::new());
        while lines.len() < 300 {
            let due = universe.next_due().expect("a busy universe always has a next change");
            let now = Moment { wall: Timestamp::UNIX_EPOCH + due, timer: start + due };
            if by_hand {
                universe.change(ChangeKind::Edit, None, None, now).expect("some record");
            }
            for Change { kind, id, .. } in universe.step(now) {
                let seen = format!("{:?}", universe.records.seen(&id, now.timer + HOUR));
                lines.push((due, kind, id, seen));
            }
        }
        lines
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_makes_the_same_universe_and_the_same_changes() {
        for platform in Platform::ALL {
            let (first, second) = (busy(platform, 7), busy(platform, 7));
            assert!(first.records.latest().eq(second.records.latest()));
            assert_eq!(history(first, false), history(second, false));

            let (other, third) = (busy(platform, 8), busy(platform, 7));
            assert!(other.records.latest().ne(third.records.latest()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_by_hand_does_not_alter_the_plan() {
        let plan = |by_hand| {
            let lines = history(busy(Platform::Klaviyo, 7), by_hand);
            lines.into_iter().map(|(due, kind, id, _)| (due, kind, id)).collect::<Vec<_>>()
        };
        assert_eq!(plan(true), plan(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_universe_has_no_next_change() {
        let mut universe = busy(Platform::Klaviyo, 7);
        universe.set_frozen(true);
        assert_eq!(universe.next_due(), None);
        let now = Moment { wall: Timestamp::UNIX_EPOCH, timer: Instant::now() };
        assert_eq!(universe.step(now), []);
        assert!(universe.change(ChangeKind::Edit, None, None, now).is_ok(), "a hand still can");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_with_orders_cannot_be_deleted_and_a_deleted_attendee_stays() {
        let mut universe = busy(Platform::Eventbrite, 7);
        let now = Moment { wall: Timestamp::UNIX_EPOCH, timer: Instant::now() };
        let delete = |universe: &mut Universe, record_type| {
            universe.change(ChangeKind::Delete, Some(record_type), None, now)
        };
        assert_eq!(delete(&mut universe, RecordType::Event), Err(ChangeError::InUse));

        let gone = delete(&mut universe, RecordType::Attendee).unwrap().remove(0);
        assert_eq!(gone.actions.len(), 0, "no webhook tells of a deleted attendee");
        let seen = universe.records.seen(&gone.id, now.timer + HOUR).unwrap();
        assert_eq!(seen.text("status"), "Deleted");
    }
}
