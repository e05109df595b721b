//! One simulated account with everything it has: records, limiter, faults, webhooks, a journal.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Call};
use crate::chance::Chance;
use crate::clock::now;
use crate::config::{AccountConfig, Config};
use crate::deliver::Courier;
use crate::fault::{Fault, Faults};
use crate::gate::Gate;
use crate::journal::{Journal, RequestCount};
use crate::limit::{Limiter, QuotaStats, Refusal, Standing};
use crate::locked::Locked;
use crate::notice::{DeliveryStats, Notice};
use crate::record::{Platform, RecordId, RecordType};
use crate::records::{Change, ChangeError, ChangeKind, Moment};
use crate::universe::Universe;
use crate::{eventbrite, klaviyo};

/// Changes made, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChangeStats {
    /// Content changed.
    pub edits: u64,
    /// Only what a mirror leaves out moved.
    pub touches: u64,
    /// Statuses moved by the clock.
    pub clock: u64,
    /// New records.
    pub creations: u64,
    /// Deleted records, soft or hard.
    pub deletions: u64,
}

/// Everything counted at one platform.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountStats {
    /// Which platform.
    pub platform: Platform,
    /// Changes made, spontaneous and by hand.
    pub changes: ChangeStats,
    /// What became of the notices of them.
    pub webhooks: DeliveryStats,
    /// What each quota saw.
    pub quotas: Vec<QuotaStats>,
    /// Answers 429 because a quota was used up; injected ones are not among them.
    pub refusals: u64,
    /// Requests by path template and status.
    pub requests: Vec<RequestCount>,
}

/// A simulated account.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) platform: Platform,
    pub(crate) config: Arc<Config>,
    pub(crate) universe: Locked<Universe>,
    pub(crate) limiter: Locked<Limiter>,
    pub(crate) faults: Locked<Faults>,
    pub(crate) journal: Locked<Journal>,
    /// Chance of how an answer looks: order of arrays, fields left out.
    pub(crate) looks: Locked<Chance>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) gate: Arc<Gate>,
    changes: Locked<ChangeStats>,
    refusals: Locked<u64>,
    /// Wakes the task that makes the changes.
    woken: watch::Sender<()>,
}

impl Account {
    pub(crate) fn new(platform: Platform, config: Arc<Config>, gate: Arc<Gate>) -> Self {
        let own = account_config(platform, &config);
        let stream =
            |purpose: &str| Chance::of(config.seed, &format!("{} {purpose}", platform.name()));
        Self {
            platform,
            universe: Locked::new(Universe::new(platform, &config)),
            limiter: Locked::new(Limiter::new(&own.quotas, Instant::now())),
            faults: Locked::new(Faults::new(stream("faults"))),
            journal: Locked::new(Journal::new(config.request_log)),
            looks: Locked::new(stream("looks")),
            courier: Arc::new(Courier::new(platform, Arc::clone(&config), stream("webhooks"))),
            gate,
            changes: Locked::default(),
            refusals: Locked::default(),
            woken: watch::Sender::new(()),
            config,
        }
    }

    /// Takes a request from the quotas; the limiter's log runs on the lock's order.
    pub(crate) fn admit(&self, template: &str) -> Result<Option<Standing>, Refusal> {
        let mut limiter = self.limiter.lock();
        let now = Instant::now();
        match limiter.admit(template, now) {
            Ok(()) => Ok(limiter.standing(template, now)),
            Err(refusal) => {
                *self.refusals.lock() += 1;
                Err(refusal)
            }
        }
    }

    /// What the platform says to a request, and the path template it was counted under.
    pub(crate) fn answer(&self, call: &Call) -> (&'static str, Answer) {
        match self.platform {
            Platform::Klaviyo => klaviyo::answer(self, call),
            Platform::Eventbrite => eventbrite::answer(self, call),
        }
    }

    /// The platform's error body for a status that a fault asks for.
    pub(crate) fn error_for(&self, status: axum::http::StatusCode) -> Answer {
        match self.platform {
            Platform::Klaviyo => klaviyo::error_for(status),
            Platform::Eventbrite => eventbrite::error_for(status),
        }
    }

    pub(crate) fn draw_fault(&self) -> Option<Fault> {
        self.faults.lock().draw()
    }

    /// Makes a change by hand; `notify` decides alone whether a webhook tells of it.
    pub(crate) fn change(
        &self,
        kind: ChangeKind,
        record_type: Option<RecordType>,
        external_id: Option<&str>,
        notify: bool,
    ) -> Result<(Change, bool), ChangeError> {
        let mut universe = self.universe.lock();
        let change = universe.change(kind, record_type, external_id, moment())?;
        self.count(&change);
        let notified = notify && change.action.is_some();
        if notified {
            self.tell(&change, false);
        }
        drop(universe);
        self.woken.send_replace(());
        Ok((change, notified))
    }

    /// Sends `times` notices of a record without a change.
    pub(crate) fn announce(&self, id: &RecordId, times: usize) {
        let action = match id.record_type {
            RecordType::Profile => "profile",
            RecordType::Event => "event.updated",
            RecordType::Attendee => "attendee.updated",
            RecordType::Order => "order.updated",
        };
        for _ in 0..times {
            self.courier.accept(Notice { id: id.clone(), action }, false);
        }
    }

    /// Stops or resumes spontaneous changes.
    pub(crate) fn set_frozen(&self, frozen: bool) {
        self.universe.lock().set_frozen(frozen);
        self.woken.send_replace(());
    }

    /// How long readers may still be shown old states.
    pub(crate) fn unsettled_for(&self) -> Duration {
        let settled = self.universe.lock().records.settled_at();
        settled.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn stats(&self) -> AccountStats {
        AccountStats {
            platform: self.platform,
            changes: *self.changes.lock(),
            webhooks: self.courier.stats(),
            quotas: self.limiter.lock().stats(Instant::now()),
            refusals: *self.refusals.lock(),
            requests: self.journal.lock().counts(),
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
                    if let Some(change) = universe.step(moment()) {
                        self.count(&change);
                        self.tell(&change, true);
                    }
                }
            }
            // Lets others in, should the plan be far behind.
            sleep(Duration::ZERO).await;
        }
    }

    fn tell(&self, change: &Change, may_be_silent: bool) {
        if let Some(action) = change.action {
            let id = change.id.clone();
            self.courier.accept(Notice { id, action }, may_be_silent);
        } else {
            self.courier.no_webhook_for_it();
        }
    }

    fn count(&self, change: &Change) {
        let mut stats = self.changes.lock();
        match change.kind {
            ChangeKind::Edit => stats.edits += 1,
            ChangeKind::Touch => stats.touches += 1,
            ChangeKind::Clock => stats.clock += 1,
            ChangeKind::Create => stats.creations += 1,
            ChangeKind::Delete => stats.deletions += 1,
        }
    }
}

/// The part of the configuration that both platforms have.
pub(crate) fn account_config(platform: Platform, config: &Config) -> &AccountConfig {
    match platform {
        Platform::Klaviyo => &config.klaviyo.account,
        Platform::Eventbrite => &config.eventbrite.account,
    }
}

fn moment() -> Moment {
    Moment { wall: now(), timer: Instant::now() }
}
