//! `syncline connections add` and `remove`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use common::config::{Config, ConnectionConfig};
use common::credentials::{Keyring, Place, new_endpoint_id};
use common::fleet::{self, endpoint_hash, no_endpoint};
use common::ids::Lane;
use common::store::connections::{self, NewConnection};
use common::store::credentials::{self, NewAdded, Origin, Sealed};
use secrecy::{ExposeSecret, SecretString};

use crate::answer::Answer;
use crate::{named, stores};

/// A secret or a table of settings that is longer is not one.
const MOST_BYTES: u64 = 64 * 1024;
/// Shorter ones could be guessed.
const SHORTEST_ENDPOINT_ID: usize = 24;

/// The same of the key of an HMAC, in characters.
const SHORTEST_NOTICE_SECRET: usize = 16;

/// Arguments of `connections add`. A file named `-` is standard input; one of them may be.
#[derive(Args)]
pub(crate) struct Add {
    /// Its name: `platform/name`.
    connection: Lane,
    /// What the platform calls the account.
    #[arg(long, default_value = "")]
    account: String,
    /// The file that holds the API key or access token.
    #[arg(long, value_name = "FILE", required_unless_present = "refresh_token_file")]
    token_file: Option<PathBuf>,
    /// The file that holds the refresh token, where tokens do not last.
    #[arg(long, value_name = "FILE", requires = "client_id", requires = "client_secret_file")]
    refresh_token_file: Option<PathBuf>,
    /// What the platform calls the application that the refresh token was given to.
    #[arg(long, value_name = "ID", requires = "refresh_token_file")]
    client_id: Option<String>,
    /// The file that holds that application's secret.
    #[arg(long, value_name = "FILE", requires = "refresh_token_file")]
    client_secret_file: Option<PathBuf>,
    /// The file that holds what the platform signs its webhooks with.
    #[arg(long, value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
    /// The file that holds what a bridge signs its notices with, at least 16 characters.
    #[arg(long, value_name = "FILE")]
    notice_secret_file: Option<PathBuf>,
    /// The file that holds the last part of the webhook's address; without it one is made and
    /// shown once, and the one that is there stays.
    #[arg(long, value_name = "FILE")]
    endpoint_id_file: Option<PathBuf>,
    /// A file with further settings (TOML): what would stand in the connection's table in the
    /// configuration, like schedules and quotas, without its secrets.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

/// Arguments of `connections remove`.
#[derive(Args)]
pub(crate) struct Remove {
    /// Its name: `platform/name`.
    connection: Lane,
}

/// Puts a connection with sealed secrets into Postgres, or other secrets in their place.
pub(crate) async fn add(config: &Config, arguments: &Add) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let platform = named::platform_of(lane)?;
    let keys = config.credentials.keys()?.ok_or_else(|| {
        anyhow!("credentials.key_file is not set: make a key with syncline new-key, and name its file for every process")
    })?;
    if arguments.refresh_token_file.is_some() && platform.oauth().is_none() {
        bail!(
            "tokens of {} last and are not renewed: leave --refresh-token-file out",
            platform.name()
        );
    }
    let settings = settings(arguments)?;
    fleet::limits(platform, &settings).context("quotas")?;
    for schedule in &settings.schedules {
        named::record_kind(platform, schedule.record_type.as_str()).context("schedules")?;
    }
    let given = Given::read(arguments)?;

    let db = stores::postgres(config).await?;
    // What is there already keeps its webhook address, unless another one is given.
    let known = credentials::added(&db).await?.into_iter().find(|added| added.lane == *lane);
    let old_hash: Option<[u8; 32]> =
        known.as_ref().and_then(|known| known.endpoint_hash.clone()?.try_into().ok());
    let made = match (&given.endpoint_id, old_hash) {
        (None, None) => Some(new_endpoint_id()?),
        _ => None,
    };
    let new_hash =
        given.endpoint_id.as_ref().or(made.as_ref()).map(|id| endpoint_hash(id.expose_secret()));

    let mut tx = db.begin().await?;
    let configured = config.connections.contains_key(lane);
    let row = connections::all(&mut *tx).await?.into_iter().find(|row| row.lane == *lane);
    let id = match row {
        Some(row) if configured => row.id,
        _ => {
            let endpoint_hash = new_hash.or(old_hash).unwrap_or_else(|| no_endpoint(lane));
            let account = settings.account.clone();
            let new = NewConnection { lane: lane.clone(), account, endpoint_hash };
            let rows = connections::upsert(&mut *tx, &[new]).await.context(
                "writing the connection down; does another one have this webhook address?",
            )?;
            rows.first().context("it was not written down")?.id
        }
    };
    let new = NewAdded {
        settings: serde_json::to_value(&settings).context("its settings")?,
        endpoint_hash: new_hash,
        webhook_secret: seal(&keys, lane, "webhook_secret", given.webhook_secret.as_ref())?,
        notice_secret: seal(&keys, lane, "notice_secret", given.notice_secret.as_ref())?,
        token: seal(&keys, lane, "token", given.token.as_ref())?,
        refresh_token: seal(&keys, lane, "refresh_token", given.refresh_token.as_ref())?,
        client_id: arguments.client_id.clone().unwrap_or_default(),
        client_secret: seal(&keys, lane, "client_secret", given.client_secret.as_ref())?,
    };
    let newly = credentials::add(&mut *tx, id, &new).await?;
    tx.commit().await?;

    let done = if newly { "is added" } else { "has new secrets" };
    let mut answer = match made {
        Some(endpoint_id) => Answer::text(format!(
            "{lane} {done}; its webhook address, which is not shown again:\n/webhooks/{}/{}",
            platform.name(),
            endpoint_id.expose_secret()
        )),
        None => Answer::text(format!("{lane} {done}; its webhook address is as it was given")),
    };
    if configured {
        answer = answer.note(format!(
            "the configuration names {lane} too, and counts: take it out of there to use what was added"
        ));
    }
    Ok(answer.note(if newly {
        format!("restart worker, scheduler and ingress to begin with it; syncline connections check {lane} tries it")
    } else {
        format!("running processes take a new token by themselves, all else after a restart; if {lane} is parked: syncline connections unpark {lane}")
    }))
}

/// Forgets what was added. The connection's records stay.
pub(crate) async fn remove(config: &Config, arguments: &Remove) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let db = stores::postgres(config).await?;
    let connection = named::connection(&db, lane).await?;
    if !credentials::remove_added(&db, connection.id).await? {
        bail!(
            "{lane} was not added with syncline connections add: the configuration has it, or nobody"
        );
    }
    Ok(Answer::text(format!("{lane} is removed; its records stay"))
        .note("processes that run go on with it until they are restarted"))
}

fn settings(arguments: &Add) -> anyhow::Result<ConnectionConfig> {
    let lane = &arguments.connection;
    let mut settings = match &arguments.settings {
        None => ConnectionConfig::default(),
        Some(path) => {
            let shown = path.display().to_string();
            let text = fs::read_to_string(path)
                .with_context(|| format!("--settings {shown}: check path and owner"))?;
            ConnectionConfig::without_secrets(lane, &shown, &text)?
        }
    };
    if !arguments.account.is_empty() {
        settings.account.clone_from(&arguments.account);
    }
    Ok(settings)
}

/// The secrets that were given.
struct Given {
    token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    client_secret: Option<SecretString>,
    webhook_secret: Option<SecretString>,
    notice_secret: Option<SecretString>,
    endpoint_id: Option<SecretString>,
}

impl Given {
    fn read(arguments: &Add) -> anyhow::Result<Self> {
        let files = [
            ("--token-file", &arguments.token_file),
            ("--refresh-token-file", &arguments.refresh_token_file),
            ("--client-secret-file", &arguments.client_secret_file),
            ("--webhook-secret-file", &arguments.webhook_secret_file),
            ("--notice-secret-file", &arguments.notice_secret_file),
            ("--endpoint-id-file", &arguments.endpoint_id_file),
        ];
        let from_stdin = |path: &&Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
        if files.iter().filter(|(_, path)| from_stdin(path)).count() > 1 {
            bail!("one secret can be read from standard input, not several");
        }
        let read = |(name, path): (&str, &Option<PathBuf>)| {
            path.as_deref().map(|path| secret(name, path)).transpose()
        };
        let [token, refresh_token, client_secret, webhook_secret, notice_secret, endpoint_id] =
            files.map(read);
        let (notice_secret, endpoint_id) = (notice_secret?, endpoint_id?);
        let short =
            |secret: &SecretString| secret.expose_secret().chars().count() < SHORTEST_NOTICE_SECRET;
        if notice_secret.as_ref().is_some_and(short) {
            bail!("--notice-secret-file: must hold at least {SHORTEST_NOTICE_SECRET} characters");
        }
        let guessable = |id: &str| {
            id.len() < SHORTEST_ENDPOINT_ID
                || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if endpoint_id.as_ref().is_some_and(|id| guessable(id.expose_secret())) {
            bail!("--endpoint-id-file: must hold at least 24 letters, digits, - or _");
        }
        Ok(Self {
            token: token?,
            refresh_token: refresh_token?,
            client_secret: client_secret?,
            webhook_secret: webhook_secret?,
            notice_secret,
            endpoint_id,
        })
    }
}

fn seal(
    keys: &Keyring,
    lane: &Lane,
    what: &'static str,
    secret: Option<&SecretString>,
) -> anyhow::Result<Option<Sealed>> {
    let place = Place { lane, row: Origin::Added.as_str(), what };
    Ok(secret.map(|secret| keys.seal(place, secret).map(Sealed)).transpose()?)
}

/// A secret from a file or from standard input; one newline at its end does not belong to it.
fn secret(name: &str, path: &Path) -> anyhow::Result<SecretString> {
    let shown = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(MOST_BYTES + 1).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("{name} {shown}: check path and owner"))?;
    let text = SecretString::from(text);
    let secret = text.expose_secret();
    let secret = secret.strip_suffix('\n').unwrap_or(secret);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() || secret.len() as u64 > MOST_BYTES {
        bail!("{name} {shown}: it is empty or longer than {MOST_BYTES} bytes");
    }
    Ok(secret.into())
}
