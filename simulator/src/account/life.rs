//! How an account's records change, and who is told of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Account;
use crate::clock::now;
use crate::notice::Notice;
use crate::record::{Platform, RecordId, RecordType, Version};
use crate::records::{Change, ChangeError, ChangeKind, Moment};
use crate::universe::Universe;
use crate::{discord, patreon};

impl Account {
    /// Makes a change by hand; `notify` decides alone whether a webhook tells of it.
    pub(crate) fn change(
        &self,
        kind: ChangeKind,
        record_type: Option<RecordType>,
        external_id: Option<&str>,
        notify: bool,
    ) -> Result<(Change, bool), ChangeError> {
        let mut universe = self.universe.lock();
        let changes = universe.change(kind, record_type, external_id, moment())?;
        for (nth, change) in changes.iter().enumerate() {
            self.count(change);
            // What follows from a change is told as the platform does it.
            if notify || nth > 0 {
                self.tell(&universe, change, false);
            }
        }
        drop(universe);
        self.woken.send_replace(());
        let first = changes.into_iter().next().ok_or(ChangeError::NoRecord)?;
        let notified = notify && !first.actions.is_empty();
        Ok((first, notified))
    }

    /// Sends `times` notices of a record without a change.
    pub(crate) fn announce(&self, id: &RecordId, times: usize) {
        let action = match (self.platform, id.record_type) {
            (Platform::Klaviyo, _) => "profile",
            (Platform::Eventbrite, RecordType::Event) => "event.updated",
            (Platform::Eventbrite, RecordType::Order) => "order.updated",
            (Platform::Eventbrite, _) => "attendee.updated",
            (Platform::Patreon, RecordType::Member) => "members:update",
            // Patreon tells of nothing else.
            (Platform::Patreon, _) => return,
            (Platform::Discord, RecordType::Entitlement) => "ENTITLEMENT_UPDATE",
            (Platform::Discord, RecordType::Role) => "role",
            (Platform::Discord, RecordType::Guild) => "guild",
            (Platform::Discord, _) => "member",
        };
        let universe = self.universe.lock();
        let notice = self.notice(&universe, id, action, None);
        for _ in 0..times {
            self.send(&notice, false);
        }
    }

    /// Makes the spontaneous changes until `stop`.
    pub(crate) async fn live(self: Arc<Self>, stop: CancellationToken) {
        let mut woken = self.woken.subscribe();
        // Time lived without pauses, which is the time in which the plan is written.
        let mut lived = Duration::ZERO;
        while !stop.is_cancelled() {
            woken.mark_unchanged();
            let due = self.universe.lock().next_due();
            let since = Instant::now();
            let wait = async {
                match due {
                    Some(due) => sleep_until(since + due.saturating_sub(lived)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                // Another plan, or a pause.
                _ = woken.changed() => {
                    if due.is_some() {
                        lived += since.elapsed();
                    }
                }
                () = wait => {
                    lived = lived.max(due.unwrap_or_default());
                    let mut universe = self.universe.lock();
                    for change in universe.step(moment()) {
                        self.count(&change);
                        self.tell(&universe, &change, true);
                    }
                }
            }
            // Lets others in, should the plan be far behind.
            sleep(Duration::ZERO).await;
        }
    }

    /// Sends the notices of a change, as many as the platform has for it.
    fn tell(&self, universe: &Universe, change: &Change, may_be_silent: bool) {
        for action in change.actions {
            let notice = self.notice(universe, &change.id, action, Some(&change.version));
            self.send(&notice, may_be_silent);
        }
        if change.actions.is_empty() {
            self.courier.no_webhook_for_it();
        }
    }

    fn send(&self, notice: &Notice, may_be_silent: bool) {
        let told = self.courier.accept(notice, may_be_silent);
        if let Some((event_id, at)) = told.filter(|_| self.platform == Platform::Klaviyo) {
            self.events.lock().enter(event_id, &notice.id.external_id, at);
        }
    }

    /// A notice with what its webhook shows of the record: `version`, or how it is now.
    fn notice(
        &self,
        universe: &Universe,
        id: &RecordId,
        action: &'static str,
        version: Option<&Arc<Version>>,
    ) -> Notice {
        let version = version.or_else(|| universe.records.now(id));
        let payload = version.map(|version| match self.platform {
            Platform::Patreon => patreon::notice::document(self, universe, id, version),
            Platform::Discord => discord::notice::data(id, version),
            Platform::Klaviyo | Platform::Eventbrite => Arc::from(""),
        });
        let event = match id.record_type {
            RecordType::Event => Some(id.external_id.as_str()),
            _ => version.map(|version| version.text("event_id")),
        };
        let event = event.map(Arc::from);
        Notice { id: id.clone(), action, event, payload: payload.unwrap_or_default() }
    }

    fn count(&self, change: &Change) {
        let mut stats = self.changes.lock();
        match change.kind {
            ChangeKind::Edit => stats.edits += 1,
            ChangeKind::Touch => stats.touches += 1,
            ChangeKind::Clock => stats.clock += 1,
            ChangeKind::Create => stats.creations += 1,
            ChangeKind::Delete | ChangeKind::Merge => stats.deletions += 1,
        }
    }
}

fn moment() -> Moment {
    Moment { wall: now(), timer: Instant::now() }
}
