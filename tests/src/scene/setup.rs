//! What a story changes of the usual.

use std::net::SocketAddr;

use simulator::{Config, Platform, QuotaConfig, QuotaScope};

/// What a story changes of the usual.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The platforms.
    pub simulator: Config,
    /// Those that the fleet has a connection to.
    pub connected: Vec<Platform>,
    /// Sections laid over the usual settings, as TOML.
    pub settings: String,
    /// Keys of the Klaviyo connection, as TOML.
    pub klaviyo: String,
    /// Keys of the Eventbrite connection.
    pub eventbrite: String,
    /// Keys of the Patreon connection.
    pub patreon: String,
    /// Keys of the Discord connection.
    pub discord: String,
    /// An address of a Redis of the story's own, in place of the usual one and of `redis`.
    pub redis_url: Option<String>,
    /// Where the fleet finds Redis, when not where it is: a way to it that a story can close.
    pub redis: Option<SocketAddr>,
    /// The same for Postgres.
    pub postgres: Option<SocketAddr>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::of(&[Platform::Klaviyo, Platform::Eventbrite])
    }
}

impl Setup {
    /// Some records on each of these platforms, and a connection to each.
    pub fn of(platforms: &[Platform]) -> Self {
        let mut simulator = Config::default();
        (simulator.klaviyo.lists, simulator.klaviyo.memberships) = (0, 0);
        simulator.klaviyo.profiles = 5;
        simulator.eventbrite.events = 2;
        simulator.eventbrite.attendees = 6;
        simulator.eventbrite.orders = 3;
        simulator.patreon.members = 16;
        // A story does not wait for the next minute; the window of the client is the real one.
        simulator.patreon.account.quotas =
            vec![QuotaConfig::new("client", 100, 2_000), QuotaConfig::new("token", 6000, 60_000)];
        simulator.discord.roles = 3;
        simulator.discord.members = 12;
        simulator.discord.entitlements = 3;
        simulator.discord.account.quotas = vec![
            QuotaConfig::new("global", 50, 1_000),
            QuotaConfig::new("route", 40, 1_000).per(QuotaScope::Route, &[]),
        ];
        Self {
            simulator: simulator.only(platforms),
            connected: platforms.to_vec(),
            settings: String::new(),
            klaviyo: r#"quotas.steady = { limit = 6000, window = "1m", burst = 100, headroom = 5 }
                quotas.profiles = { limit = 6000, window = "1m", burst = 100, headroom = 5 }
                quotas.lists = { limit = 6000, window = "1m", burst = 100, headroom = 5 }
                quotas.list-profiles = { limit = 6000, window = "1m", burst = 100, headroom = 5 }"#
                .to_owned(),
            eventbrite:
                r#"quotas.hour = { limit = 100000, window = "1h", burst = 100, headroom = 5 }
                confirm_after = []
                young = "0s""#
                    .to_owned(),
            patreon: r#"quotas.token = { limit = 6000, window = "1m", burst = 100, headroom = 5 }
                quotas.client = { limit = 100, window = "2s", burst = 20, headroom = 2 }"#
                .to_owned(),
            discord: r#"quotas.guilds = { limit = 40, window = "1s", burst = 10, headroom = 1 }
                quotas.members = { limit = 40, window = "1s", burst = 10, headroom = 1 }
                quotas.roles = { limit = 40, window = "1s", burst = 10, headroom = 1 }
                quotas.entitlements = { limit = 40, window = "1s", burst = 10, headroom = 1 }
                confirm_after = []
                young = "0s""#
                .to_owned(),
            redis_url: None,
            redis: None,
            postgres: None,
        }
    }

    /// The connections, each with its keys.
    pub(super) fn connections(&self) -> Vec<(Platform, &str)> {
        let keys = |platform| match platform {
            Platform::Klaviyo => self.klaviyo.as_str(),
            Platform::Eventbrite => self.eventbrite.as_str(),
            Platform::Patreon => self.patreon.as_str(),
            Platform::Discord => self.discord.as_str(),
        };
        self.connected.iter().map(|&platform| (platform, keys(platform))).collect()
    }
}

/// The usual settings of a story: everything waits a little only.
pub(super) const SETTINGS: &str = r#"
[worker]
listen = "127.0.0.1:0"
concurrency = 4
lease = "2s"
heartbeat = "500ms"
permit_use_by = "500ms"
retry_base = "100ms"
missing_confirm_after = "10ms"
[api]
whole_timeout = "3s"
read_timeout = "3s"
connect_timeout = "1s"
[scheduler]
listen = "127.0.0.1:0"
tick = "50ms"
leader_lease = "3s"
sweep_every = "100ms"
watch_senders_every = "0s"
spot_check_min_age = "10ms"
audit_share = 0.0
run_audit_samples = 0
repairs_per_hour = 1000
[ingress]
leave = "0s"
[console]
listen = "127.0.0.1:0"
leave = "0s"
"#;

/// `over` laid over `usual`, section by section.
pub(crate) fn merge(usual: &str, over: &str) -> anyhow::Result<String> {
    let mut merged: toml::Table = usual.parse()?;
    for (section, keys) in over.parse::<toml::Table>()? {
        match (merged.get_mut(&section), keys) {
            (Some(toml::Value::Table(known)), toml::Value::Table(keys)) => known.extend(keys),
            (_, keys) => drop(merged.insert(section, keys)),
        }
    }
    Ok(merged.to_string())
}
