//! One attempt to deliver: what is sent, what the answer means, what becomes of the rest.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::Instant;
use url::Url;

use super::{Courier, State};
use crate::account::account_config;
use crate::clock::now;
use crate::hook::Channel;
use crate::notice::{self, Delivery, Dispatch};

/// Notices kept for one paused webhook; more are dropped.
const MOST_HELD: usize = 100_000;

/// What becomes of a delivery that is due.
pub(super) enum Ready {
    /// It goes there; a probe with a wrong signature may go first.
    Send(Url, Delivery, Option<Delivery>),
    /// It is done with: kept, or dropped.
    Done,
}

impl Courier {
    /// The request, dated and signed now, unless nobody listens or the webhook is switched off.
    pub(super) fn prepare(&self, batch: &[Dispatch]) -> Ready {
        let mut state = self.state.lock();
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let probed = state.chance.happens(self.webhooks().probe_share);
        let hook = batch.first().and_then(|first| state.hook(&first.hook));
        if let Some(hook) = hook {
            if hook.channel == Channel::Patreon && !hook.enabled {
                drop(state);
                self.undeliverable(batch);
                return Ready::Done;
            }
            let target = hook.target.clone().filter(|_| hook.enabled);
            let delivery = notice::delivery(&self.config, hook, batch, now());
            let probe = (probed && hook.channel == Channel::DiscordEvents)
                .then(|| delivery.as_ref().and_then(Delivery::with_wrong_signature))
                .flatten();
            if let Some((target, delivery)) = target.zip(delivery) {
                return Ready::Send(target, delivery, probe);
            }
        }
        state.stats.dropped += count;
        Ready::Done
    }
    /// Counts an answer; true when the delivery is done.
    pub(super) fn settle(
        &self,
        batch: &[Dispatch],
        answer: Option<StatusCode>,
        attempt: u32,
    ) -> bool {
        let mut state = self.state.lock();
        let State { stats, hooks, .. } = &mut *state;
        stats.count(answer, attempt);
        let id = batch.first().map(|first| &first.hook);
        let Some(hook) = hooks.iter_mut().find(|hook| id.is_some_and(|id| **id == *hook.id)) else {
            return true;
        };
        hook.last_attempt = Some(now());
        if answer.is_some_and(|status| hook.channel.accepts(status)) {
            stats.deliveries += 1;
            stats.arrived += u64::try_from(batch.len()).unwrap_or(u64::MAX);
            (hook.failures, hook.failing_since) = (0, None);
            return true;
        }
        hook.failures += 1;
        let webhooks = &account_config(self.platform, &self.config).webhooks;
        let since = *hook.failing_since.get_or_insert_with(Instant::now);
        let for_long = since.elapsed() >= Duration::from_millis(webhooks.disable_after_ms);
        let off = match hook.channel {
            // 410 unsubscribes the endpoint.
            Channel::Eventbrite => answer == Some(StatusCode::GONE),
            Channel::Klaviyo => for_long,
            Channel::Patreon | Channel::DiscordEvents => hook.failures >= webhooks.pause_after,
            Channel::DiscordBridge => false,
        };
        if off {
            hook.give_up();
        }
        false
    }

    /// A wrong signature that is not refused costs the webhook its address.
    pub(super) fn settle_probe(&self, batch: &[Dispatch], answer: Option<StatusCode>) {
        let mut state = self.state.lock();
        state.stats.probes += 1;
        if answer == Some(StatusCode::UNAUTHORIZED) || answer.is_none() {
            return;
        }
        state.stats.probes_passed += 1;
        let hook = batch.first().and_then(|first| state.hook(&first.hook));
        if let Some(hook) = hook.filter(|_| answer.is_some_and(|status| status.is_success())) {
            hook.target = None;
            hook.give_up();
        }
    }

    /// After the last attempt: kept for later where the platform does that, else given up.
    pub(super) fn undeliverable(&self, batch: &[Dispatch]) {
        let mut state = self.state.lock();
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let hook = batch.first().and_then(|first| state.hook(&first.hook));
        match hook.filter(|hook| hook.channel == Channel::Patreon) {
            Some(hook) if hook.held.len() < MOST_HELD => hook.held.extend(batch.iter().cloned()),
            Some(_) => state.stats.dropped += count,
            None => state.stats.abandoned += count,
        }
    }
}
