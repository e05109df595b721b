//! Webhooks on their way: lost, late, twice, in batches, tried again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::redirect::Policy;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use url::Url;

use crate::account::account_config;
use crate::chance::Chance;
use crate::clock::now;
use crate::config::{Config, WebhookConfig};
use crate::locked::Locked;
use crate::notice::{self, Delivery, DeliveryStats, Dispatch, Notice};
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
    target: Option<Url>,
    waiting: BinaryHeap<Reverse<(Instant, Dispatch)>>,
    stats: DeliveryStats,
    failing_since: Option<Instant>,
}

impl Courier {
    pub(crate) fn new(platform: Platform, config: Arc<Config>, chance: Chance) -> Self {
        let target = account_config(platform, &config).webhooks.target.clone();
        let state = State {
            chance,
            target,
            waiting: BinaryHeap::new(),
            stats: DeliveryStats { enabled: true, ..DeliveryStats::default() },
            failing_since: None,
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

    /// Where notices go from now on; those that wait go there too.
    pub(crate) fn set_target(&self, target: Option<Url>) {
        self.state.lock().target = target;
    }

    pub(crate) fn target(&self) -> Option<Url> {
        self.state.lock().target.clone()
    }

    /// Switches the webhook on or off.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        let mut state = self.state.lock();
        state.stats.enabled = enabled;
        state.failing_since = None;
    }

    pub(crate) fn stats(&self) -> DeliveryStats {
        DeliveryStats { pending: *self.pending.borrow(), ..self.state.lock().stats.clone() }
    }

    /// Counts a change of which no webhook tells.
    pub(crate) fn no_webhook_for_it(&self) {
        self.state.lock().stats.without_webhook += 1;
    }

    /// Takes a notice; chance decides whether and when it goes out, and how often.
    pub(crate) fn accept(&self, notice: Notice, may_be_silent: bool) {
        let webhooks = self.webhooks();
        let mut state = self.state.lock();
        if may_be_silent && state.chance.happens(webhooks.silent_share) {
            state.stats.silent += 1;
            return;
        }
        state.stats.notices += 1;
        if state.chance.happens(webhooks.lost_share) {
            state.stats.lost += 1;
            return;
        }
        let twice = state.chance.happens(webhooks.duplicated_share);
        state.stats.duplicated += u64::from(twice);
        let event_id =
            state.chance.text("23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz", 12);
        let dispatch = Dispatch { notice, event_id, at: now() };
        let copies = if twice { 2 } else { 1 };
        for _ in 0..copies {
            if state.waiting.len() >= MOST_WAITING {
                state.stats.dropped += 1;
                continue;
            }
            let delay = state.chance.exponential(Duration::from_millis(webhooks.delay_ms));
            let due = Instant::now() + delay.min(Duration::from_hours(24));
            state.waiting.push(Reverse((due, dispatch.clone())));
            self.pending.send_modify(|pending| *pending += 1);
        }
        drop(state);
        self.arrived.notify_one();
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
        let most = match self.platform {
            Platform::Klaviyo => self.webhooks().batch.clamp(1, 1_000),
            Platform::Eventbrite => 1,
        };
        loop {
            let due = self.state.lock().waiting.peek().map(|Reverse((due, _))| *due + linger);
            match due {
                Some(due) if due <= Instant::now() => return self.take(most),
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

    fn take(&self, most: usize) -> Vec<Dispatch> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let mut batch = Vec::new();
        while batch.len() < most
            && state.waiting.peek().is_some_and(|Reverse((due, _))| *due <= now)
        {
            batch.extend(state.waiting.pop().map(|Reverse((_, dispatch))| dispatch));
        }
        batch
    }

    async fn deliver(&self, client: &reqwest::Client, batch: &[Dispatch]) {
        let webhooks = self.webhooks();
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let longest = Duration::from_millis(webhooks.backoff_max_ms);
        let mut wait = Duration::from_millis(webhooks.backoff_ms).min(longest);
        for attempt in 0..webhooks.attempts.max(1) {
            if attempt > 0 {
                sleep(wait).await;
                wait = (wait * 2).min(longest);
            }
            let Some((target, delivery)) = self.prepare(batch) else {
                self.state.lock().stats.dropped += count;
                return;
            };
            let answer = post(client, target, delivery).await;
            debug!(platform = self.platform.name(), ?answer, "webhook answered");
            if self.settle(answer, attempt, count) {
                return;
            }
        }
        self.state.lock().stats.abandoned += count;
    }

    /// The request, dated and signed now; `None` when nobody listens or the webhook is disabled.
    fn prepare(&self, batch: &[Dispatch]) -> Option<(Url, Delivery)> {
        let state = self.state.lock();
        let target = state.target.clone().filter(|_| state.stats.enabled)?;
        let delivery = match self.platform {
            Platform::Klaviyo => notice::klaviyo(&self.config.klaviyo, batch, now()),
            Platform::Eventbrite => {
                notice::eventbrite(&self.config.eventbrite, batch.first()?, &target)
            }
        };
        Some((target, delivery))
    }

    /// Counts an answer; true when the delivery is done.
    fn settle(&self, answer: Option<StatusCode>, attempt: u32, count: u64) -> bool {
        let mut state = self.state.lock();
        let State { stats, failing_since, .. } = &mut *state;
        stats.attempts += 1;
        stats.retries += u64::from(attempt > 0);
        match answer.map(|status| status.as_u16() / 100) {
            Some(2) => stats.answered_2xx += 1,
            Some(3) => stats.answered_3xx += 1,
            Some(4) => stats.answered_4xx += 1,
            Some(_) => stats.answered_5xx += 1,
            None => stats.unanswered += 1,
        }
        let accepted = answer.is_some_and(|status| match self.platform {
            Platform::Klaviyo => matches!(status.as_u16(), 200..=202),
            Platform::Eventbrite => status.is_success(),
        });
        if accepted {
            stats.deliveries += 1;
            stats.arrived += count;
            *failing_since = None;
            return true;
        }
        match self.platform {
            // 410 unsubscribes the endpoint.
            Platform::Eventbrite if answer == Some(StatusCode::GONE) => stats.enabled = false,
            Platform::Eventbrite => {}
            Platform::Klaviyo => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                let limit = Duration::from_millis(self.webhooks().disable_after_ms);
                if since.elapsed() >= limit {
                    stats.enabled = false;
                }
            }
        }
        false
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the platforms' own client for webhooks, which no permit of ours governs"
)]
fn client(limit: Duration) -> reqwest::Result<reqwest::Client> {
    // Fails when a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().timeout(limit).redirect(Policy::none()).no_proxy().build()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the platforms' own client for webhooks, which no permit of ours governs"
)]
async fn post(client: &reqwest::Client, target: Url, delivery: Delivery) -> Option<StatusCode> {
    let mut request = client.post(target).body(delivery.body);
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    request.send().await.ok().map(|response| response.status())
}
