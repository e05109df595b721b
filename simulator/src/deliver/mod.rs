//! Webhooks on their way: lost, late, twice, in batches, tried again.

mod attempt;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use url::Url;

use attempt::Ready;

use crate::account::account_config;
use crate::chance::Chance;
use crate::clock::now;
use crate::config::{Config, WebhookConfig};
use crate::hook::{Channel, Hook};
use crate::locked::Locked;
use crate::notice::{self, DeliveryStats, Dispatch, Notice};
use crate::post::{client, post};
use crate::record::Platform;

/// Notices in waiting; more are dropped.
const MOST_WAITING: usize = 200_000;

/// The webhooks of one account.
#[derive(Debug)]
pub(crate) struct Courier {
    platform: Platform,
    config: Arc<Config>,
    state: Locked<State>,
    pending: watch::Sender<u64>,
    arrived: Notify,
}

#[derive(Debug)]
struct State {
    chance: Chance,
    hooks: Vec<Hook>,
    waiting: BinaryHeap<Reverse<(Instant, Dispatch)>>,
    stats: DeliveryStats,
}

impl State {
    fn hook(&mut self, id: &str) -> Option<&mut Hook> {
        self.hooks.iter_mut().find(|hook| hook.id == id)
    }
}

impl Courier {
    pub(crate) fn new(platform: Platform, config: Arc<Config>, chance: Chance) -> Self {
        let state = State {
            chance,
            hooks: Hook::configured(platform, &config),
            waiting: BinaryHeap::new(),
            stats: DeliveryStats::default(),
        };
        Self {
            platform,
            config,
            state: Locked::new(state),
            pending: watch::Sender::new(0),
            arrived: Notify::new(),
        }
    }

    fn webhooks(&self) -> &WebhookConfig {
        &account_config(self.platform, &self.config).webhooks
    }

    /// Reads or alters the webhooks; what was kept for one that was resumed goes out.
    pub(crate) fn hooks<T>(&self, act: impl FnOnce(&mut Vec<Hook>) -> T) -> T {
        let mut state = self.state.lock();
        let outcome = act(&mut state.hooks);
        let State { hooks, waiting, .. } = &mut *state;
        let mut freed = 0;
        for hook in hooks.iter_mut().filter(|hook| hook.resumed) {
            let at = Instant::now();
            hook.resumed = false;
            freed += u64::try_from(hook.held.len()).unwrap_or(u64::MAX);
            waiting.extend(hook.held.drain(..).map(|dispatch| Reverse((at, dispatch))));
        }
        self.pending.send_modify(|pending| *pending += freed);
        drop(state);
        self.arrived.notify_one();
        outcome
    }

    /// Where the notices of a channel go from now on; those that wait go there too.
    pub(crate) fn set_target(&self, bridge: bool, target: Option<Url>) {
        let of_channel = |hook: &Hook| (hook.channel == Channel::DiscordBridge) == bridge;
        let mut configured = Hook::configured(self.platform, &self.config);
        self.hooks(|hooks| {
            if !hooks.iter().any(of_channel) {
                hooks.extend(configured.drain(..).filter(of_channel));
            }
            if let Some(hook) = hooks.iter_mut().find(|hook| of_channel(hook)) {
                hook.target = target;
            }
        });
    }

    /// Switches the account's own webhook off, as the platform does, or on again.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.hooks(|hooks| {
            if let Some(hook) = hooks.first_mut() {
                hook.set_enabled(enabled);
                hook.by_platform = !enabled;
            }
        });
    }

    pub(crate) fn stats(&self) -> DeliveryStats {
        let state = self.state.lock();
        let held = state.hooks.iter().map(|hook| hook.held.len()).sum::<usize>();
        DeliveryStats {
            pending: *self.pending.borrow(),
            held: u64::try_from(held).unwrap_or(u64::MAX),
            enabled: state.hooks.first().is_some_and(|hook| hook.enabled),
            ..state.stats.clone()
        }
    }

    /// Counts a change of which no webhook tells.
    pub(crate) fn no_webhook_for_it(&self) {
        self.state.lock().stats.without_webhook += 1;
    }

    /// Takes a notice; chance decides whether and when it goes out, and how often. Says under
    /// which id and when it happened, unless the platform itself does not notice it.
    pub(crate) fn accept(
        &self,
        notice: &Notice,
        may_be_silent: bool,
    ) -> Option<(String, Timestamp)> {
        let webhooks = self.webhooks();
        let mut state = self.state.lock();
        if may_be_silent && state.chance.happens(webhooks.silent_share) {
            state.stats.silent += 1;
            return None;
        }
        state.stats.notices += 1;
        let event_id =
            state.chance.text("23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz", 12);
        let at = now();
        if state.chance.happens(webhooks.lost_share) {
            state.stats.lost += 1;
            return Some((event_id, at));
        }
        let twice = state.chance.happens(webhooks.duplicated_share);
        state.stats.duplicated += u64::from(twice);
        let hooks = state.hooks.iter().filter(|hook| hook.wants(notice));
        let hooks: Vec<Arc<str>> = hooks.map(|hook| Arc::from(hook.id.as_str())).collect();
        if hooks.is_empty() {
            state.stats.dropped += 1;
        }
        for hook in hooks {
            for _ in 0..=u8::from(twice) {
                if state.waiting.len() >= MOST_WAITING {
                    state.stats.dropped += 1;
                    continue;
                }
                let delay = state.chance.exponential(Duration::from_millis(webhooks.delay_ms));
                let due = Instant::now() + delay.min(Duration::from_hours(24));
                let (hook, event_id) = (Arc::clone(&hook), event_id.clone());
                let dispatch = Dispatch { hook, notice: notice.clone(), event_id, at };
                state.waiting.push(Reverse((due, dispatch)));
                self.pending.send_modify(|pending| *pending += 1);
            }
        }
        drop(state);
        self.arrived.notify_one();
        Some((event_id, at))
    }

    /// Waits until no notice is on its way; returns how many still are when `limit` is over.
    pub(crate) async fn drained(&self, limit: Duration) -> u64 {
        let mut pending = self.pending.subscribe();
        // The sender lives in self: only the time limit ends the wait early.
        drop(timeout(limit, pending.wait_for(|pending| *pending == 0)).await);
        *self.pending.borrow()
    }

    /// Sends what is due until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let client = client(Duration::from_millis(self.webhooks().timeout_ms))?;
        let slots = Arc::new(Semaphore::new(self.webhooks().concurrency.max(1)));
        let deliveries = TaskTracker::new();
        while let Some(Ok(slot)) =
            stop.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await
        {
            let Some(batch) = stop.run_until_cancelled(self.next_batch()).await else { break };
            let (courier, client, stop) = (Arc::clone(&self), client.clone(), stop.clone());
            deliveries.spawn(async move {
                stop.run_until_cancelled(courier.deliver(&client, &batch)).await;
                let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                courier.pending.send_modify(|pending| *pending = pending.saturating_sub(count));
                drop(slot);
            });
        }
        deliveries.close();
        deliveries.wait().await;
        Ok(())
    }

    /// Waits for the next delivery and takes it.
    async fn next_batch(&self) -> Vec<Dispatch> {
        let linger = Duration::from_millis(self.webhooks().linger_ms);
        loop {
            let due = self.state.lock().waiting.peek().map(|Reverse((due, _))| *due + linger);
            match due {
                Some(due) if due <= Instant::now() => return self.take(),
                Some(due) => {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.arrived.notified() => {}
                    }
                }
                None => self.arrived.notified().await,
            }
        }
    }

    /// What is due and fits together with the first of it.
    fn take(&self) -> Vec<Dispatch> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let Some(Reverse((_, first))) = state.waiting.pop() else { return Vec::new() };
        let channel = state.hook(&first.hook).map_or(Channel::Eventbrite, |hook| hook.channel);
        let most = channel.most(self.webhooks().batch);
        let (mut batch, mut others) = (vec![first], Vec::new());
        while batch.len() < most && others.len() < most {
            if state.waiting.peek().is_none_or(|Reverse((due, _))| *due > now) {
                break;
            }
            let Some(Reverse((due, next))) = state.waiting.pop() else { break };
            if batch.first().is_some_and(|one| notice::fit_together(channel, one, &next)) {
                batch.push(next);
            } else {
                others.push(Reverse((due, next)));
            }
        }
        state.waiting.extend(others);
        batch
    }

    async fn deliver(&self, client: &reqwest::Client, batch: &[Dispatch]) {
        let webhooks = self.webhooks();
        let longest = Duration::from_millis(webhooks.backoff_max_ms);
        let mut wait = Duration::from_millis(webhooks.backoff_ms).min(longest);
        for attempt in 0..webhooks.attempts.max(1) {
            if attempt > 0 {
                sleep(wait).await;
                wait = (wait * 2).min(longest);
            }
            let Ready::Send(target, delivery, probe) = self.prepare(batch) else { return };
            if let Some(probe) = probe {
                let answer = post(client, target.clone(), probe).await;
                self.settle_probe(batch, answer);
            }
            let answer = post(client, target, delivery).await;
            debug!(platform = self.platform.name(), ?answer, "webhook answered");
            if self.settle(batch, answer, attempt) {
                return;
            }
        }
        self.undeliverable(batch);
    }
}
