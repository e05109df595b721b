//! All platforms together, and everything a test or the control API does with them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::account::{Account, AccountStats};
use crate::config::{Config, Switches};
use crate::discord;
use crate::fault::{Fault, Hits};
use crate::gate::{Gate, GateRule, GateState};
use crate::journal::{Fetches, RequestRow};
use crate::record::{Platform, RecordId, RecordType};
use crate::records::{ChangeError, ChangeKind};
use crate::truth::Truth;

/// Everything counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// At Klaviyo.
    pub klaviyo: AccountStats,
    /// At Eventbrite.
    pub eventbrite: AccountStats,
    /// At Patreon.
    pub patreon: AccountStats,
    /// At Discord.
    pub discord: AccountStats,
}

impl Stats {
    /// What was counted at one platform.
    pub fn of(&self, platform: Platform) -> &AccountStats {
        match platform {
            Platform::Klaviyo => &self.klaviyo,
            Platform::Eventbrite => &self.eventbrite,
            Platform::Patreon => &self.patreon,
            Platform::Discord => &self.discord,
        }
    }
}

/// What is still under way after a freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Frozen {
    /// Notices that have not arrived and are not given up.
    pub pending_notices: u64,
    /// For how long reads may still show old states, in milliseconds.
    pub unsettled_ms: u64,
}

/// A change by hand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Where.
    pub platform: Platform,
    /// A profile, an attendee or a member when absent.
    #[serde(default)]
    pub record_type: Option<RecordType>,
    /// A random record when absent. For a creation: on Discord the guild, or guild and user, on
    /// Klaviyo list and profile of a membership; without meaning elsewhere.
    #[serde(default)]
    pub external_id: Option<String>,
    /// What.
    pub kind: ChangeKind,
    /// Whether a webhook tells of it; it may still get lost by the configured share.
    pub notify: bool,
}

/// A change by hand that took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// What kind.
    pub record_type: RecordType,
    /// With the id of what it belongs to in front, see [`RecordType`].
    pub external_id: String,
    /// False too where the platform has no webhook for such a change.
    pub notified: bool,
}

/// The simulated platforms.
#[derive(Debug)]
pub struct World {
    pub(crate) klaviyo: Arc<Account>,
    pub(crate) eventbrite: Arc<Account>,
    pub(crate) patreon: Arc<Account>,
    pub(crate) discord: Arc<Account>,
    pub(crate) gate: Arc<Gate>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let (config, gate) = (Arc::new(config), Arc::new(Gate::default()));
        let account =
            |platform| Arc::new(Account::new(platform, Arc::clone(&config), Arc::clone(&gate)));
        Self {
            klaviyo: account(Platform::Klaviyo),
            eventbrite: account(Platform::Eventbrite),
            patreon: account(Platform::Patreon),
            discord: account(Platform::Discord),
            gate,
        }
    }

    fn account(&self, platform: Platform) -> &Arc<Account> {
        match platform {
            Platform::Klaviyo => &self.klaviyo,
            Platform::Eventbrite => &self.eventbrite,
            Platform::Patreon => &self.patreon,
            Platform::Discord => &self.discord,
        }
    }

    pub(crate) fn accounts(&self) -> [&Arc<Account>; 4] {
        [&self.klaviyo, &self.eventbrite, &self.patreon, &self.discord]
    }

    /// The universe file of this world, as it stood at the start.
    pub fn config(&self) -> &Config {
        &self.klaviyo.config
    }

    /// All counters.
    pub fn stats(&self) -> Stats {
        Stats {
            klaviyo: self.klaviyo.stats(),
            eventbrite: self.eventbrite.stats(),
            patreon: self.patreon.stats(),
            discord: self.discord.stats(),
        }
    }

    /// All records as they are now, whatever readers are shown.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        for account in self.accounts() {
            truth.add(account.platform, &account.universe.lock().records);
        }
        truth
    }

    /// Stops spontaneous changes, then waits until no notice is under way and reads show the
    /// truth, but no longer than `limit`; says what is still under way.
    pub async fn freeze(&self, limit: Duration) -> Frozen {
        let deadline = Instant::now() + limit;
        for account in self.accounts() {
            account.set_frozen(true);
        }
        let mut pending_notices = 0;
        for account in self.accounts() {
            let left = deadline.saturating_duration_since(Instant::now());
            pending_notices += account.courier.drained(left).await;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        sleep(self.unsettled().min(left)).await;
        let unsettled_ms = u64::try_from(self.unsettled().as_millis()).unwrap_or(u64::MAX);
        Frozen { pending_notices, unsettled_ms }
    }

    /// Lets records change again.
    pub fn thaw(&self) {
        for account in self.accounts() {
            account.set_frozen(false);
        }
    }

    /// Makes one change at once, frozen or not.
    pub fn change(&self, request: &ChangeRequest) -> Result<Changed, ChangeError> {
        let external_id = request.external_id.as_deref();
        let account = self.account(request.platform);
        let (change, notified) =
            account.change(request.kind, request.record_type, external_id, request.notify)?;
        let RecordId { record_type, external_id } = change.id;
        Ok(Changed { record_type, external_id, notified })
    }

    /// Sends so many notices of a record in which nothing has changed.
    pub fn announce(&self, platform: Platform, id: &RecordId, times: usize) {
        self.account(platform).announce(id, times);
    }

    /// Switches a fault on.
    pub fn fault(&self, platform: Platform, fault: Fault, hits: Hits) {
        self.account(platform).faults.lock().switch_on(fault, hits);
    }

    /// Switches all faults of a platform off.
    pub fn clear_faults(&self, platform: Platform) {
        self.account(platform).faults.lock().clear();
    }

    /// Holds the answers that the rule names; the requests count and the state is read before.
    pub fn gate(&self, rule: GateRule) {
        self.gate.shut(rule);
    }

    /// Lets held answers go, and those that come.
    pub fn open_gate(&self) {
        self.gate.open();
    }

    /// What the gate does at this moment.
    pub fn gate_state(&self) -> GateState {
        self.gate.state()
    }

    /// Waits until so many answers are held; false when `limit` is over first.
    pub async fn wait_until_held(&self, count: u64, limit: Duration) -> bool {
        self.gate.wait_until_held(count, limit).await
    }

    /// The last requests to one platform, oldest first.
    pub fn requests(&self, platform: Platform, last: usize) -> Vec<RequestRow> {
        self.account(platform).journal.lock().last(last)
    }

    /// How often requests were about a record.
    pub fn fetches(&self, platform: Platform, id: &RecordId) -> Fetches {
        self.account(platform).journal.lock().fetches(id)
    }

    /// Where webhooks go from now on.
    pub fn set_webhook_target(&self, platform: Platform, target: Option<Url>) {
        self.account(platform).courier.set_target(false, target);
    }

    /// Where the bridge to Discord's gateway posts its notices from now on.
    pub fn set_bridge_target(&self, target: Option<Url>) {
        self.discord.courier.set_target(true, target);
    }

    /// The traps of a platform as they are switched now.
    pub fn switches(&self, platform: Platform) -> Switches {
        self.account(platform).switches.lock().clone()
    }

    /// Switches the traps of a platform.
    pub fn set_switches(&self, platform: Platform, switches: Switches) {
        *self.account(platform).switches.lock() = switches;
    }

    /// Makes all access tokens run out; refresh tokens stay good (Patreon).
    pub fn expire_tokens(&self) {
        self.patreon.tokens.lock().expire();
    }

    /// How often somebody has refreshed the tokens (Patreon).
    pub fn token_refreshes(&self) -> u64 {
        self.patreon.tokens.lock().refreshes()
    }

    /// The key, in hex, with which Discord's webhook events are verified.
    pub fn discord_public_key(&self) -> Option<String> {
        discord::public_key(&self.discord.config.discord)
    }

    /// Switches a webhook off, as the platform does after long failure, or on again.
    pub fn set_webhook_enabled(&self, platform: Platform, enabled: bool) {
        self.account(platform).courier.set_enabled(enabled);
    }

    fn unsettled(&self) -> Duration {
        let accounts = self.accounts().into_iter();
        accounts.map(|account| account.unsettled_for()).max().unwrap_or_default()
    }
}
