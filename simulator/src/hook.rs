//! A webhook as a platform keeps it: where to, about what, and whether it still sends.

use std::collections::VecDeque;

use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::time::Instant;
use url::Url;

use crate::account::account_config;
use crate::clock::now;
use crate::config::{Config, Credential};
use crate::notice::{Dispatch, Notice};
use crate::record::Platform;

/// Webhooks of one account; more are refused.
pub(crate) const MOST_HOOKS: usize = 20;

/// How a webhook looks and behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Up to 1,000 events, signed with a timestamp.
    Klaviyo,
    /// A pointer, unsigned.
    Eventbrite,
    /// A document, signed; what cannot be delivered is kept.
    Patreon,
    /// An event, signed with a key pair.
    DiscordEvents,
    /// What a gateway bridge tells: up to 1,000 ids of one kind.
    DiscordBridge,
}

impl Channel {
    /// Most notices in one delivery.
    pub(crate) fn most(self, batch: usize) -> usize {
        match self {
            Self::Klaviyo | Self::DiscordBridge => batch.clamp(1, 1_000),
            Self::Eventbrite | Self::Patreon | Self::DiscordEvents => 1,
        }
    }

    /// Whether that answer ends the delivery.
    pub(crate) fn accepts(self, status: StatusCode) -> bool {
        match self {
            Self::Klaviyo => matches!(status.as_u16(), 200..=202),
            Self::DiscordEvents => status == StatusCode::NO_CONTENT,
            Self::Eventbrite | Self::Patreon | Self::DiscordBridge => status.is_success(),
        }
    }
}

/// A webhook.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) id: String,
    pub(crate) channel: Channel,
    pub(crate) target: Option<Url>,
    pub(crate) secret: Credential,
    /// About what it tells; about everything when absent.
    pub(crate) actions: Option<Vec<String>>,
    /// About which event alone it tells (Eventbrite).
    pub(crate) event: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) enabled: bool,
    /// Whether the platform switched it off, not its owner.
    pub(crate) by_platform: bool,
    /// Attempts that failed since the last that did not.
    pub(crate) failures: u32,
    pub(crate) last_attempt: Option<Timestamp>,
    pub(crate) failing_since: Option<Instant>,
    /// Just switched on: what was kept for it is to be sent.
    pub(crate) resumed: bool,
    /// What waits for it to be switched on again (Patreon).
    pub(crate) held: VecDeque<Dispatch>,
}

impl Hook {
    /// An enabled one that tells about everything.
    pub(crate) fn new(id: &str, channel: Channel, target: Option<Url>, secret: Credential) -> Self {
        Self {
            id: id.to_owned(),
            channel,
            target,
            secret,
            actions: None,
            event: None,
            created: now(),
            enabled: true,
            by_platform: false,
            failures: 0,
            last_attempt: None,
            failing_since: None,
            resumed: false,
            held: VecDeque::new(),
        }
    }

    /// The webhooks that an account has from the start; the first is the platform's own, which
    /// settings and switches mean when they name none.
    pub(crate) fn configured(platform: Platform, config: &Config) -> Vec<Self> {
        let target = account_config(platform, config).webhooks.target.clone();
        let new = |id: &str, channel, secret: &Credential| {
            Self::new(id, channel, target.clone(), secret.clone())
        };
        match platform {
            Platform::Klaviyo => {
                let own = &config.klaviyo;
                vec![new(&own.webhook_id, Channel::Klaviyo, &own.webhook_secret)]
            }
            Platform::Eventbrite => {
                let own = &config.eventbrite;
                vec![new(&own.webhook_id, Channel::Eventbrite, &"".into())]
            }
            Platform::Patreon => {
                let own = &config.patreon;
                vec![new(&own.webhook_id, Channel::Patreon, &own.webhook_secret)]
            }
            Platform::Discord => {
                let own = &config.discord;
                let events = Self {
                    actions: Some(own.event_types.clone()),
                    ..new("events", Channel::DiscordEvents, &own.signing_seed)
                };
                let kinds = ["member", "role", "guild"].map(str::to_owned).to_vec();
                let bridge = Self {
                    target: own.bridge_target.clone(),
                    actions: Some(kinds),
                    ..new("bridge", Channel::DiscordBridge, &own.bridge_secret)
                };
                vec![events, bridge]
            }
        }
    }

    /// Whether it tells about that.
    pub(crate) fn wants(&self, notice: &Notice) -> bool {
        let about = self.actions.as_ref();
        about.is_none_or(|actions| actions.iter().any(|action| action == notice.action))
            && self.event.as_deref().is_none_or(|event| notice.event.as_deref() == Some(event))
    }

    /// Switches it on or off for its owner.
    pub(crate) fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
        self.resumed = enabled;
        self.by_platform = false;
        self.failures = 0;
        self.failing_since = None;
    }

    /// The platform switches it off.
    pub(crate) fn give_up(&mut self) {
        self.enabled = false;
        self.by_platform = true;
    }
}
