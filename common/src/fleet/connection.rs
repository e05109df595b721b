//! The accounts that the configuration names, with all that is known of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::config::ConnectionConfig;
use crate::ids::{ConnectionId, Lane};
use crate::platform::{self, Account, Platform, RecordKind};
use crate::quota::LaneLimits;
use crate::store::connections::{self, NewConnection};

/// One account on a platform.
pub struct Connection {
    /// Its row in Postgres.
    pub id: ConnectionId,
    /// What its API is like.
    pub platform: &'static dyn Platform,
    /// Where it is and what opens it.
    pub account: Account,
    /// Its quotas: the platform's, as far as the configuration does not say otherwise.
    pub limits: LaneLimits,
    /// Its part of the configuration.
    pub config: ConnectionConfig,
}

impl Connection {
    /// Its name, which is also its lane.
    pub fn lane(&self) -> &Lane {
        &self.account.lane
    }

    /// The kind of record with this name.
    pub fn record_kind(&self, name: &str) -> Option<&'static RecordKind> {
        self.platform.records().iter().find(|kind| kind.name == name)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("account", &self.account).finish_non_exhaustive()
    }
}

/// All of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    by_lane: Arc<BTreeMap<Lane, Arc<Connection>>>,
    by_endpoint: Arc<HashMap<[u8; 32], Lane>>,
}

impl Connections {
    /// Reads their secrets and writes them down in Postgres.
    ///
    /// # Errors
    ///
    /// See [`super::Fleet::open`].
    pub async fn open(
        configs: &BTreeMap<Lane, ConnectionConfig>,
        db: &PgPool,
    ) -> anyhow::Result<Self> {
        let mut accounts = BTreeMap::new();
        let mut by_endpoint = HashMap::new();
        let mut wanted = Vec::new();
        for (lane, config) in configs {
            let platform = platform::named(lane.platform()).ok_or_else(|| unknown(lane))?;
            let secrets = config.secrets(lane)?;
            let limits =
                limits(platform, config).with_context(|| format!("connections.{lane}.quotas"))?;
            let base_url = match &config.base_url {
                Some(url) => url.clone(),
                None => platform.base_url().parse().context("the platform's own base URL")?,
            };
            let usual = platform.consistency();
            let consistency = platform::Consistency {
                confirm_after: config.confirm_after.clone().unwrap_or(usual.confirm_after),
                young: config.young.unwrap_or(usual.young),
            };
            let account = Account {
                lane: lane.clone(),
                base_url,
                account: config.account.clone(),
                token: secrets.token,
                webhook_secret: secrets.webhook_secret,
                consistency,
            };
            let endpoint_hash = match &secrets.endpoint_id {
                Some(id) => {
                    let hash = Self::endpoint_hash(id.expose_secret());
                    by_endpoint.insert(hash, lane.clone());
                    hash
                }
                // It gets no webhooks; the column only has to be unique.
                None => Self::endpoint_hash(&format!("none {lane}")),
            };
            let account_name = config.account.clone();
            wanted.push(NewConnection { lane: lane.clone(), account: account_name, endpoint_hash });
            accounts.insert(lane.clone(), (platform, account, limits, config.clone()));
        }
        let rows = connections::upsert(db, &wanted).await.context("writing connections down")?;
        let ids: HashMap<&Lane, ConnectionId> =
            rows.iter().map(|row| (&row.lane, row.id)).collect();
        let by_lane = accounts
            .into_iter()
            .map(|(lane, (platform, account, limits, config))| {
                let id = *ids.get(&lane).ok_or_else(|| anyhow!("{lane} was not written down"))?;
                Ok((lane, Arc::new(Connection { id, platform, account, limits, config })))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { by_lane: Arc::new(by_lane), by_endpoint: Arc::new(by_endpoint) })
    }

    /// The connection of this name.
    pub fn get(&self, lane: &Lane) -> Option<&Arc<Connection>> {
        self.by_lane.get(lane)
    }

    /// The connection with this webhook address. What is compared are hashes, so that the time it
    /// takes tells nothing about a guess.
    pub fn by_endpoint(&self, platform: &str, endpoint_id: &str) -> Option<&Arc<Connection>> {
        let lane = self.by_endpoint.get(&Self::endpoint_hash(endpoint_id))?;
        self.get(lane).filter(|connection| connection.platform.name() == platform)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.by_lane.values()
    }

    fn endpoint_hash(endpoint_id: &str) -> [u8; 32] {
        Sha256::digest(endpoint_id).into()
    }
}

fn unknown(lane: &Lane) -> anyhow::Error {
    let names: Vec<&str> = platform::all().iter().map(|platform| platform.name()).collect();
    anyhow!("connections.{lane}: no such platform; there are {}", names.join(", "))
}

/// The platform's quotas with those of the configuration in their place. One that the platform
/// does not have is drawn on by every request.
///
/// # Errors
///
/// When the quotas contradict themselves or each other.
pub fn limits(platform: &dyn Platform, config: &ConnectionConfig) -> anyhow::Result<LaneLimits> {
    let mut limits = platform.limits();
    for (name, quota) in &config.quotas {
        let quota = quota.quota(name);
        if let Some(usual) = limits.quotas.iter_mut().find(|usual| usual.name == *name) {
            *usual = quota;
        } else {
            let index = limits.quotas.len();
            limits.quotas.push(quota);
            for kind in limits.kinds.values_mut() {
                kind.quotas.push(index);
            }
        }
    }
    limits.check()?;
    Ok(limits)
}
