//! One simulated account with everything it has: records, limiter, faults, webhooks, a journal.

mod life;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answer::{Answer, Call};
use crate::chance::Chance;
use crate::clock::now;
use crate::config::{AccountConfig, Config, QuotaScope, Switches};
use crate::deliver::Courier;
use crate::edge::{self, Edge};
use crate::fault::{Fault, Faults};
use crate::gate::Gate;
use crate::journal::{Journal, RequestCount};
use crate::klaviyo::events::Events;
use crate::limit::{Limiter, Refusal};
use crate::locked::Locked;
use crate::notice::DeliveryStats;
use crate::patreon::Tokens;
use crate::quota::{Counted, QuotaStats, Standing};
use crate::record::Platform;
use crate::universe::Universe;
use crate::{discord, eventbrite, klaviyo, patreon};

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
    /// Requests that the edge shut out because too many before them had failed.
    pub blocked: u64,
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
    pub(crate) switches: Locked<Switches>,
    /// What happened with profiles (Klaviyo).
    pub(crate) events: Locked<Events>,
    /// Access and refresh tokens (Patreon).
    pub(crate) tokens: Locked<Tokens>,
    edge: Locked<Edge>,
    blocked: Locked<u64>,
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
            limiter: Locked::new(Limiter::new(&own.quotas, own.windows, Instant::now(), now())),
            faults: Locked::new(Faults::new(stream("faults"))),
            journal: Locked::new(Journal::new(config.request_log)),
            looks: Locked::new(stream("looks")),
            courier: Arc::new(Courier::new(platform, Arc::clone(&config), stream("webhooks"))),
            gate,
            switches: Locked::new(own.switches.clone()),
            events: Locked::default(),
            tokens: Locked::new(Tokens::new(&config.patreon, stream("tokens"))),
            edge: Locked::new(Edge::new(own.edge.clone())),
            blocked: Locked::default(),
            changes: Locked::default(),
            refusals: Locked::default(),
            woken: watch::Sender::new(()),
            config,
        }
    }

    /// Takes a request from the quotas; the limiter's log runs on the lock's order.
    pub(crate) fn admit(&self, counted: Counted<'_>) -> Result<(), Refusal> {
        let mut limiter = self.limiter.lock();
        limiter.admit(counted, Instant::now()).inspect_err(|_| *self.refusals.lock() += 1)
    }

    /// What headers can say about the longest window that is shared so.
    pub(crate) fn standing(
        &self,
        counted: Counted<'_>,
        scope: Option<QuotaScope>,
    ) -> Option<Standing> {
        self.limiter.lock().standing(counted, scope, Instant::now())
    }

    /// The page that a caller is shown who is shut out; `None` while it is not.
    pub(crate) fn shut_out(&self) -> Option<Answer> {
        let wait = self.edge.lock().blocked(Instant::now())?;
        *self.blocked.lock() += 1;
        Some(edge::block(wait))
    }

    /// Lets the edge see an answer of the platform's.
    pub(crate) fn pass_edge(&self, answer: &Answer) {
        // Limits that are shared with others are not the caller's fault.
        let shared = answer
            .headers
            .iter()
            .any(|(name, value)| *name == "x-ratelimit-scope" && value == "shared");
        if !shared {
            self.edge.lock().count(answer.status, Instant::now());
        }
    }

    /// What the platform says to a request, and the path template it was counted under.
    pub(crate) fn answer(&self, call: &Call) -> (&'static str, Answer) {
        match self.platform {
            Platform::Klaviyo => klaviyo::answer(self, call),
            Platform::Eventbrite => eventbrite::answer(self, call),
            Platform::Patreon => patreon::answer(self, call),
            Platform::Discord => discord::answer(self, call),
        }
    }

    /// The platform's error body for a status that a fault asks for.
    pub(crate) fn error_for(&self, status: axum::http::StatusCode) -> Answer {
        match self.platform {
            Platform::Klaviyo => klaviyo::error_for(status),
            Platform::Eventbrite => eventbrite::error_for(status),
            Platform::Patreon => patreon::error_for(status),
            Platform::Discord => discord::error_for(status),
        }
    }

    pub(crate) fn draw_fault(&self) -> Option<Fault> {
        self.faults.lock().draw()
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
            blocked: *self.blocked.lock(),
            requests: self.journal.lock().counts(),
        }
    }
}

/// The part of the configuration that all platforms have.
pub(crate) fn account_config(platform: Platform, config: &Config) -> &AccountConfig {
    match platform {
        Platform::Klaviyo => &config.klaviyo.account,
        Platform::Eventbrite => &config.eventbrite.account,
        Platform::Patreon => &config.patreon.account,
        Platform::Discord => &config.discord.account,
    }
}
