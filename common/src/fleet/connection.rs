//! The accounts that are mirrored, with all that is known of them: those of the configuration, and
//! those that were added to Postgres.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tracing::{error, info, warn};
use url::Url;

use super::clients::{OfClient, overbooked_clients};
use super::tokens::{Application, Renewals, StoredToken};
use crate::config::{Config, ConnectionConfig, OAuthSecrets};
use crate::credentials::{Keyring, OpenError, Place};
use crate::ids::{ConnectionId, Lane, RecordType};
use crate::platform::{self, Account, Endpoint, OAuthEndpoint, Platform, RecordKind, Token};
use crate::quota::LaneLimits;
use crate::store::connections::{self, NewConnection};
use crate::store::credentials::{self, Added, Origin, RowKey, Sealed};

const NO_KEY: &str = "credentials.key_file is not set: secrets in Postgres are sealed, and this process cannot open them; name the file with their key, or make one with syncline new-key";

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
    /// Its part of the configuration, or what was added in its place.
    pub config: ConnectionConfig,
    /// Where its webhooks come to; `None` where it takes none.
    pub endpoint: Option<Endpoint>,
    /// What a bridge signs its notices with; `None` where it takes none.
    pub notice_secret: Option<SecretString>,
    /// Which of its rows has its token; `None` where none has.
    pub origin: Option<Origin>,
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

/// A connection before it has a row.
struct Draft {
    platform: &'static dyn Platform,
    base_url: Url,
    limits: LaneLimits,
    config: ConnectionConfig,
    webhook_secret: Option<SecretString>,
    notice_secret: Option<SecretString>,
    endpoint_hash: Option<[u8; 32]>,
    /// All of the webhook's address, where it is known.
    webhook_address: Option<SecretString>,
    token: DraftToken,
}

enum DraftToken {
    Fixed(SecretString),
    /// Renewed; the first tokens come from the configuration.
    Configured {
        token: Option<SecretString>,
        oauth: OAuthSecrets,
        endpoint: OAuthEndpoint,
    },
    Added {
        application: Option<Application>,
    },
}

/// All of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    by_lane: Arc<BTreeMap<Lane, Arc<Connection>>>,
    by_endpoint: Arc<HashMap<[u8; 32], Lane>>,
}

impl Connections {
    /// Reads their secrets and writes them down in Postgres. Where the configuration and Postgres
    /// both have one, the configuration counts.
    ///
    /// # Errors
    ///
    /// See [`super::Fleet::open`].
    pub async fn open(config: &Config, db: &PgPool, renewals: &Renewals) -> anyhow::Result<Self> {
        let keys = config.credentials.keys()?;
        let mut drafts = BTreeMap::new();
        for (lane, connection) in &config.connections {
            drafts.insert(lane.clone(), configured(lane, connection, config)?);
        }
        for row in
            credentials::added(db).await.context("reading the connections that were added")?
        {
            let lane = row.lane.clone();
            if drafts.contains_key(&lane) {
                info!(%lane, "the configuration and syncline connections add both name it: the configuration counts");
                continue;
            }
            let keys = keys.as_ref().ok_or_else(|| anyhow!("{lane} was added, but {NO_KEY}"))?;
            if let Some(draft) =
                added(row, keys).with_context(|| format!("{lane}, which was added"))?
            {
                drafts.insert(lane, draft);
            }
        }

        for sentence in overbooked_clients(drafts.iter().filter_map(of_client)) {
            warn!("{sentence}");
        }

        let mut by_endpoint = HashMap::new();
        let mut wanted = Vec::new();
        for (lane, draft) in &drafts {
            if let Some(hash) = draft.endpoint_hash {
                by_endpoint.insert(hash, lane.clone());
            }
            wanted.push(NewConnection {
                lane: lane.clone(),
                account: draft.config.account.clone(),
                // Without webhooks the column only has to be unique.
                endpoint_hash: draft.endpoint_hash.unwrap_or_else(|| no_endpoint(lane)),
            });
        }
        let rows = connections::upsert(db, &wanted).await.context("writing connections down")?;
        let ids: HashMap<&Lane, ConnectionId> =
            rows.iter().map(|row| (&row.lane, row.id)).collect();
        let mut by_lane = BTreeMap::new();
        for (lane, draft) in drafts {
            let id = *ids.get(&lane).ok_or_else(|| anyhow!("{lane} was not written down"))?;
            let connection = draft.open(&lane, id, db, keys.as_ref(), renewals).await?;
            by_lane.insert(lane, Arc::new(connection));
        }
        Ok(Self { by_lane: Arc::new(by_lane), by_endpoint: Arc::new(by_endpoint) })
    }

    /// These, without their webhook addresses: for a simulation, which has no stores to read from.
    pub fn of(connections: impl IntoIterator<Item = Connection>) -> Self {
        let named = |connection: Connection| (connection.lane().clone(), Arc::new(connection));
        let by_lane = Arc::new(connections.into_iter().map(named).collect());
        Self { by_lane, by_endpoint: Arc::default() }
    }

    /// The connection of this name.
    pub fn get(&self, lane: &Lane) -> Option<&Arc<Connection>> {
        self.by_lane.get(lane)
    }

    /// The connection with this webhook address. What is compared are hashes, so that the time it
    /// takes tells nothing about a guess.
    pub fn by_endpoint(&self, platform: &str, endpoint_id: &str) -> Option<&Arc<Connection>> {
        let lane = self.by_endpoint.get(&endpoint_hash(endpoint_id))?;
        self.get(lane).filter(|connection| connection.platform.name() == platform)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.by_lane.values()
    }
}

impl Draft {
    async fn open(
        self,
        lane: &Lane,
        id: ConnectionId,
        db: &PgPool,
        keys: Option<&Keyring>,
        renewals: &Renewals,
    ) -> anyhow::Result<Connection> {
        let kept = |origin, application| -> anyhow::Result<Token> {
            let keys = keys.ok_or_else(|| anyhow!("{lane}: {NO_KEY}"))?;
            let row = RowKey { connection: id, origin };
            let (db, renewals) = (db.clone(), renewals.clone());
            let token =
                StoredToken::new(db, keys.clone(), renewals, lane.clone(), row, application);
            Ok(Token::Kept(Arc::new(token)))
        };
        let (token, origin) = match self.token {
            DraftToken::Fixed(token) => (token.into(), None),
            DraftToken::Added { application } => {
                (kept(Origin::Added, application)?, Some(Origin::Added))
            }
            DraftToken::Configured { token, oauth, endpoint } => {
                let keys =
                    keys.ok_or_else(|| anyhow!("connections.{lane}.oauth needs a key: {NO_KEY}"))?;
                seed(lane, id, db, keys, token.as_ref(), &oauth).await?;
                let application = Application {
                    url: token_url(&endpoint, &self.config)?,
                    client: endpoint.client,
                    client_id: oauth.client_id,
                    client_secret: oauth.client_secret,
                };
                (kept(Origin::Configured, Some(application))?, Some(Origin::Configured))
            }
        };
        let usual = self.platform.consistency();
        let config = &self.config;
        let account = Account {
            lane: lane.clone(),
            base_url: self.base_url,
            account: config.account.clone(),
            token,
            webhook_secret: self.webhook_secret,
            consistency: platform::Consistency {
                confirm_after: config.confirm_after.clone().unwrap_or(usual.confirm_after),
                young: config.young.unwrap_or(usual.young),
            },
        };
        let endpoint =
            self.endpoint_hash.map(|hash| Endpoint::new(hash, self.webhook_address.clone()));
        let Self { platform, limits, config, notice_secret, .. } = self;
        Ok(Connection { id, platform, account, limits, config, endpoint, notice_secret, origin })
    }
}

/// A connection of the configuration.
fn configured(lane: &Lane, config: &ConnectionConfig, all: &Config) -> anyhow::Result<Draft> {
    let secrets = config.secrets(lane)?;
    let platform = platform::named(lane.platform()).ok_or_else(|| unknown(lane))?;
    let token = match (secrets.oauth, secrets.token) {
        (None, Some(token)) => DraftToken::Fixed(token),
        (None, None) => bail!("connections.{lane}.token_file is not set"),
        (Some(oauth), token) => {
            let endpoint =
                renewal_of(platform).with_context(|| format!("connections.{lane}.oauth"))?;
            DraftToken::Configured { token, oauth, endpoint }
        }
    };
    let address = all.ingress.public_url()?.zip(secrets.endpoint_id.as_ref());
    let webhook_address = address.map(|(public, id)| {
        let public = public.as_str().trim_end_matches('/');
        format!("{public}/webhooks/{}/{}", platform.name(), id.expose_secret()).into()
    });
    Ok(Draft {
        webhook_address,
        platform,
        base_url: base_url(platform, config)?,
        limits: limits(platform, config).with_context(|| format!("connections.{lane}.quotas"))?,
        config: config.clone(),
        webhook_secret: secrets.webhook_secret,
        notice_secret: secrets.notice_secret,
        endpoint_hash: secrets.endpoint_id.map(|id| endpoint_hash(id.expose_secret())),
        token,
    })
}

/// A connection that was added. `None` where its row is not what was written there: that is said,
/// and the others work.
fn added(row: Added, keys: &Keyring) -> anyhow::Result<Option<Draft>> {
    let lane = &row.lane;
    let platform = platform::named(lane.platform()).ok_or_else(|| unknown(lane))?;
    let config: ConnectionConfig =
        serde_json::from_value(row.settings).context("its settings are not understood")?;
    let open = |what, sealed: &Option<Sealed>| match sealed {
        None => Ok(None),
        Some(sealed) => {
            let place = Place { lane, row: Origin::Added.as_str(), what };
            keys.open(place, &sealed.0).map(Some).map_err(|error| (what, error))
        }
    };
    let opened = (|| {
        // The tokens are read anew when they are used; here it is seen that they can be.
        open("token", &row.token)?;
        open("refresh_token", &row.refresh_token)?;
        Ok((
            open("webhook_secret", &row.webhook_secret)?,
            open("notice_secret", &row.notice_secret)?,
            open("client_secret", &row.client_secret)?,
        ))
    })();
    let (webhook_secret, notice_secret, client_secret) = match opened {
        Ok(secrets) => secrets,
        Err((what, error @ OpenError::UnknownKey(_))) => bail!("its {what}: {error}"),
        Err((what, error)) => {
            error!(%lane, what, %error, "a secret cannot be opened: the connection is left out");
            return Ok(None);
        }
    };
    let application = match client_secret {
        None => None,
        Some(client_secret) => {
            let endpoint = renewal_of(platform)?;
            Some(Application {
                url: token_url(&endpoint, &config)?,
                client: endpoint.client,
                client_id: row.client_id,
                client_secret,
            })
        }
    };
    Ok(Some(Draft {
        // Of its last part only the hash is kept.
        webhook_address: None,
        platform,
        base_url: base_url(platform, &config)?,
        limits: limits(platform, &config).context("its quotas")?,
        config,
        webhook_secret,
        notice_secret,
        endpoint_hash: row.endpoint_hash.and_then(|hash| hash.try_into().ok()),
        token: DraftToken::Added { application },
    }))
}

/// A connection with the OAuth client that its tokens are of, where that is known.
fn of_client<'a>((lane, draft): (&'a Lane, &'a Draft)) -> Option<OfClient<'a>> {
    let client_id = match &draft.token {
        DraftToken::Fixed(_) | DraftToken::Added { application: None } => return None,
        DraftToken::Configured { oauth, .. } => &oauth.client_id,
        DraftToken::Added { application: Some(application) } => &application.client_id,
    };
    Some(OfClient { lane, platform: draft.platform, client_id, limits: &draft.limits })
}

async fn seed(
    lane: &Lane,
    id: ConnectionId,
    db: &PgPool,
    keys: &Keyring,
    token: Option<&SecretString>,
    oauth: &OAuthSecrets,
) -> anyhow::Result<()> {
    let seal = |what, secret| {
        keys.seal(Place { lane, row: Origin::Configured.as_str(), what }, secret).map(Sealed)
    };
    let token = token.map(|token| seal("token", token)).transpose()?;
    let refresh_token = seal("refresh_token", &oauth.refresh_token)?;
    let hash = Sha256::digest(oauth.refresh_token.expose_secret()).into();
    credentials::seed(db, id, &hash, token.as_ref(), &refresh_token)
        .await
        .with_context(|| format!("writing the tokens of {lane} down"))
}

fn base_url(platform: &dyn Platform, config: &ConnectionConfig) -> anyhow::Result<Url> {
    match &config.base_url {
        Some(url) => Ok(url.clone()),
        None => platform.base_url().parse().context("the platform's own base URL"),
    }
}

/// The platform's endpoint; its path at the base URL of the configuration, where there is one.
fn token_url(endpoint: &OAuthEndpoint, config: &ConnectionConfig) -> anyhow::Result<Url> {
    let url: Url = endpoint.url.parse().context("the platform's own token endpoint")?;
    match &config.base_url {
        Some(base) => base.join(url.path()).context("the token endpoint at base_url"),
        None => Ok(url),
    }
}

fn renewal_of(platform: &dyn Platform) -> anyhow::Result<OAuthEndpoint> {
    platform
        .oauth()
        .ok_or_else(|| anyhow!("tokens of {} last and are not renewed", platform.name()))
}

/// What is kept of the secret part of a webhook's address.
pub fn endpoint_hash(endpoint_id: &str) -> [u8; 32] {
    Sha256::digest(endpoint_id).into()
}

/// What stands there for a connection without webhooks: nobody knows a text with this hash that is
/// an endpoint id.
pub fn no_endpoint(lane: &Lane) -> [u8; 32] {
    endpoint_hash(&format!("none {lane}"))
}

fn unknown(lane: &Lane) -> anyhow::Error {
    let names: Vec<&str> = platform::all().iter().map(|platform| platform.name()).collect();
    anyhow!("connections.{lane}: no such platform; there are {}", names.join(", "))
}

/// The quotas of each connection of the configuration, where these make sense.
pub fn configured_limits(config: &Config) -> BTreeMap<Lane, LaneLimits> {
    let of = |(lane, connection): (&Lane, &ConnectionConfig)| {
        let platform = platform::named(lane.platform())?;
        Some((lane.clone(), limits(platform, connection).ok()?))
    };
    config.connections.iter().filter_map(of).collect()
}

/// The shortest time between two pages of a scan that the quotas of its connection allow in the long
/// run: those in `configured`, else the usual ones of its platform.
pub fn page_pace(
    configured: &BTreeMap<Lane, LaneLimits>,
    lane: &Lane,
    record_type: &RecordType,
) -> Duration {
    let page = format!("scan@{record_type}");
    let usual = || platform::named(lane.platform()).map(Platform::limits);
    let limits = configured.get(lane).cloned().or_else(usual);
    limits.map_or(Duration::ZERO, |limits| limits.pace(&page))
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
