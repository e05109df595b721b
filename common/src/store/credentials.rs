//! What opens the accounts whose secrets are kept in Postgres. Sealed values go in and out as they
//! are: nothing here has a key.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgExecutor;

use super::{StoreError, text_enum};
use crate::ids::{ConnectionId, Lane};

text_enum! {
    /// Who described the connection.
    Origin {
        /// `syncline connections add`.
        Added = "added",
        /// The configuration.
        Configured = "configured",
    }
}

/// A sealed value. Not shown: it is long and means nothing.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A row's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowKey {
    /// Whose it is.
    pub connection: ConnectionId,
    /// Which of its two.
    pub origin: Origin,
}

/// An added connection as it is written down.
#[derive(Clone, Debug)]
pub struct NewAdded {
    /// Its settings, without secrets.
    pub settings: Value,
    /// SHA-256 of the secret part of its webhook path.
    pub endpoint_hash: Option<[u8; 32]>,
    /// What the platform signs its webhooks with.
    pub webhook_secret: Option<Sealed>,
    /// What a bridge signs its notices with.
    pub notice_secret: Option<Sealed>,
    /// What is sent with each request.
    pub token: Option<Sealed>,
    /// What the next one is asked for with.
    pub refresh_token: Option<Sealed>,
    /// The platform's name for our application.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: Option<Sealed>,
}

/// An added connection as it is opened.
#[derive(Clone, Debug)]
pub struct Added {
    /// Its row.
    pub connection: ConnectionId,
    /// Its name.
    pub lane: Lane,
    /// As in [`NewAdded`], and so on.
    pub settings: Value,
    /// SHA-256 of the secret part of its webhook path.
    pub endpoint_hash: Option<Vec<u8>>,
    /// What the platform signs its webhooks with.
    pub webhook_secret: Option<Sealed>,
    /// What a bridge signs its notices with.
    pub notice_secret: Option<Sealed>,
    /// What is sent with each request.
    pub token: Option<Sealed>,
    /// What the next one is asked for with.
    pub refresh_token: Option<Sealed>,
    /// The platform's name for our application.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: Option<Sealed>,
}

/// The tokens of a connection at this moment.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Which ones they are.
    pub version: i64,
    /// What is sent with each request.
    pub token: Option<Sealed>,
    /// What the next one is asked for with.
    pub refresh_token: Option<Sealed>,
    /// Seconds until it ends; negative once it has.
    pub expires_in: Option<f64>,
    /// Seconds that it lasts in all.
    pub life: Option<f64>,
    /// Seconds since it was renewed; `None` for one that a person put in.
    pub age: Option<f64>,
    /// Seconds since a renewal was begun that has not ended.
    pub begun_ago: Option<f64>,
    /// Seconds until the next renewal may begin; negative once it may.
    pub not_before_in: Option<f64>,
    /// Renewals in a row that brought nothing.
    pub failures: i32,
    /// Since when it is unknown whether the refresh token was used.
    pub lost_at: Option<Timestamp>,
    /// Why the platform refuses the refresh token.
    pub refused: Option<String>,
}

/// A renewal that was begun: nobody else may begin one until it has ended or died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// When, which also says whose it is.
    pub at: Timestamp,
    /// When an earlier one was begun whose answer nobody saw.
    pub lost_at: Option<Timestamp>,
}

/// What is known of a connection's credentials, without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub lane: Lane,
    /// Who described it.
    pub origin: Origin,
    /// Which token it is.
    pub version: i64,
    /// Whether it is renewed.
    pub renewed: bool,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was renewed last.
    pub refreshed_at: Option<Timestamp>,
    /// Why the platform refuses to renew it.
    pub refused: Option<String>,
}

/// The sealed values of a row, by the name of their column.
#[derive(Clone, Debug)]
pub struct SealedRow {
    /// Its key.
    pub key: RowKey,
    /// Whose it is.
    pub lane: Lane,
    /// See the table.
    pub webhook_secret: Option<Sealed>,
    /// See the table.
    pub notice_secret: Option<Sealed>,
    /// See the table.
    pub token: Option<Sealed>,
    /// See the table.
    pub refresh_token: Option<Sealed>,
    /// See the table.
    pub client_secret: Option<Sealed>,
}

/// Writes an added connection down; `true` when there was none. Its endpoint stays where `new` has
/// none. The renewal begins anew.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn add(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    new: &NewAdded,
) -> Result<bool, StoreError> {
    let version = sqlx::query_scalar!(
        r#"insert into connection_credentials as c (connection_id, origin, settings, endpoint_hash,
                  webhook_secret, notice_secret, token, refresh_token, client_id, client_secret)
           values ($1, 'added', $2, $3, $4, $5, $6, $7, $8, $9)
           on conflict (connection_id, origin) do update
               set version = c.version + 1, settings = excluded.settings,
                   endpoint_hash = coalesce(excluded.endpoint_hash, c.endpoint_hash),
                   webhook_secret = excluded.webhook_secret,
                   notice_secret = excluded.notice_secret, token = excluded.token,
                   refresh_token = excluded.refresh_token, client_id = excluded.client_id,
                   client_secret = excluded.client_secret, expires_at = null, refreshed_at = null,
                   refresh_begun_at = null, refresh_lost_at = null, refresh_failures = 0,
                   refresh_not_before = null, refused = null
           returning version"#,
        connection as ConnectionId,
        new.settings,
        new.endpoint_hash.as_ref().map(<[u8; 32]>::as_slice),
        new.webhook_secret.as_ref() as Option<&Sealed>,
        new.notice_secret.as_ref() as Option<&Sealed>,
        new.token.as_ref() as Option<&Sealed>,
        new.refresh_token.as_ref() as Option<&Sealed>,
        new.client_id,
        new.client_secret.as_ref() as Option<&Sealed>,
    )
    .fetch_one(db)
    .await?;
    Ok(version == 1)
}

/// Forgets an added connection's credentials; `true` when there were any. Its records stay.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn remove_added(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "delete from connection_credentials where connection_id = $1 and origin = 'added'",
        connection as ConnectionId,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Every added connection, by lane.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn added(db: impl PgExecutor<'_>) -> Result<Vec<Added>, StoreError> {
    Ok(sqlx::query_as!(
        Added,
        r#"select connection_id as "connection: ConnectionId", lane as "lane: Lane",
                  settings as "settings!", c.endpoint_hash,
                  webhook_secret as "webhook_secret: Sealed",
                  notice_secret as "notice_secret: Sealed", token as "token: Sealed",
                  refresh_token as "refresh_token: Sealed", client_id,
                  client_secret as "client_secret: Sealed"
             from connection_credentials c join connections on id = connection_id
            where origin = 'added' order by lane"#
    )
    .fetch_all(db)
    .await?)
}

/// What is known of all credentials, by lane.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn summaries(db: impl PgExecutor<'_>) -> Result<Vec<Summary>, StoreError> {
    let rows = sqlx::query!(
        r#"select lane as "lane: Lane", origin as "origin: Origin", version,
                  refresh_token is not null as "renewed!",
                  expires_at as "expires_at: jiff_sqlx::Timestamp",
                  refreshed_at as "refreshed_at: jiff_sqlx::Timestamp", refused
             from connection_credentials join connections on id = connection_id
            order by lane, origin"#
    )
    .fetch_all(db)
    .await?;
    let rows = rows.into_iter().map(|row| Summary {
        lane: row.lane,
        origin: row.origin,
        version: row.version,
        renewed: row.renewed,
        expires_at: row.expires_at.map(jiff_sqlx::Timestamp::to_jiff),
        refreshed_at: row.refreshed_at.map(jiff_sqlx::Timestamp::to_jiff),
        refused: row.refused,
    });
    Ok(rows.collect())
}

/// Begins with the tokens of the configuration, unless it did so before with these: then what was
/// renewed since stays.
///
/// - `seed_hash`: SHA-256 of the refresh token of the configuration.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn seed(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    seed_hash: &[u8; 32],
    token: Option<&Sealed>,
    refresh_token: &Sealed,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into connection_credentials as c
                (connection_id, origin, seed_hash, token, refresh_token)
         values ($1, 'configured', $2, $3, $4)
         on conflict (connection_id, origin) do update
             set version = c.version + 1, seed_hash = excluded.seed_hash, token = excluded.token,
                 refresh_token = excluded.refresh_token, expires_at = null, refreshed_at = null,
                 refresh_begun_at = null, refresh_lost_at = null, refresh_failures = 0,
                 refresh_not_before = null, refused = null
           where c.seed_hash <> excluded.seed_hash",
        connection as ConnectionId,
        seed_hash.as_slice(),
        token as Option<&Sealed>,
        refresh_token as &Sealed,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The tokens of a connection; `None` when they were removed.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %key.connection))]
pub async fn tokens(db: impl PgExecutor<'_>, key: RowKey) -> Result<Option<Tokens>, StoreError> {
    let row = sqlx::query!(
        r#"select version, token as "token: Sealed", refresh_token as "refresh_token: Sealed",
                  extract(epoch from expires_at - now)::float8 as expires_in,
                  extract(epoch from expires_at - refreshed_at)::float8 as life,
                  extract(epoch from now - refreshed_at)::float8 as age,
                  extract(epoch from now - refresh_begun_at)::float8 as begun_ago,
                  extract(epoch from refresh_not_before - now)::float8 as not_before_in,
                  refresh_failures as failures,
                  refresh_lost_at as "lost_at: jiff_sqlx::Timestamp", refused
             from connection_credentials, (select clock_timestamp() as now) as clock
            where connection_id = $1 and origin = $2"#,
        key.connection as ConnectionId,
        key.origin as Origin,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Tokens {
        version: row.version,
        token: row.token,
        refresh_token: row.refresh_token,
        expires_in: row.expires_in,
        life: row.life,
        age: row.age,
        begun_ago: row.begun_ago,
        not_before_in: row.not_before_in,
        failures: row.failures,
        lost_at: row.lost_at.map(jiff_sqlx::Timestamp::to_jiff),
        refused: row.refused,
    }))
}

/// Begins a renewal, when these are still the tokens, none is under way, and one may begin.
///
/// The lock on the row is held for this one statement only. What others respect is the mark that
/// it leaves, until it is older than `dead_after`.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %key.connection))]
pub async fn begin_refresh(
    db: impl PgExecutor<'_>,
    key: RowKey,
    version: i64,
    dead_after: Duration,
) -> Result<Option<Begun>, StoreError> {
    let row = sqlx::query!(
        r#"update connection_credentials
              set refresh_begun_at = clock_timestamp(),
                  -- A mark that is there has died; its answer may have been on the way.
                  refresh_lost_at = coalesce(refresh_lost_at, refresh_begun_at)
            where connection_id = $1 and origin = $2 and version = $3 and refused is null
              and (refresh_begun_at is null
                   or refresh_begun_at < clock_timestamp() - make_interval(secs => $4))
              and (refresh_not_before is null or refresh_not_before <= clock_timestamp())
        returning refresh_begun_at as "at!: jiff_sqlx::Timestamp",
                  refresh_lost_at as "lost_at: jiff_sqlx::Timestamp""#,
        key.connection as ConnectionId,
        key.origin as Origin,
        version,
        dead_after.as_secs_f64(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Begun {
        at: row.at.to_jiff(),
        lost_at: row.lost_at.map(jiff_sqlx::Timestamp::to_jiff),
    }))
}

/// Puts new tokens in the place of those of `version`; `false` when others have taken it.
///
/// Whoever holds an answer may write it, also when its mark has died: the platform has used up the
/// refresh token for it.
///
/// # Errors
///
/// When the database fails. The tokens must not be used before this succeeds.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %key.connection))]
pub async fn finish_refresh(
    db: impl PgExecutor<'_>,
    key: RowKey,
    version: i64,
    begun: Begun,
    token: &Sealed,
    refresh_token: Option<&Sealed>,
    expires_in: Option<Duration>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update connection_credentials
            set version = version + 1, token = $5, refresh_token = coalesce($6, refresh_token),
                -- Counted from before it was asked for: early rather than late.
                expires_at = $4::timestamptz + make_interval(secs => $7), refreshed_at = clock_timestamp(),
                refresh_begun_at = null, refresh_lost_at = null, refresh_failures = 0,
                refresh_not_before = null, refused = null
          where connection_id = $1 and origin = $2 and version = $3",
        key.connection as ConnectionId,
        key.origin as Origin,
        version,
        jiff_sqlx::Timestamp::from(begun.at) as jiff_sqlx::Timestamp,
        token as &Sealed,
        refresh_token as Option<&Sealed>,
        expires_in.map(|life| life.as_secs_f64()),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A renewal that brought nothing.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Nobody knows whether the refresh token was used.
    pub lost: bool,
    /// When the next may begin.
    pub pause: Duration,
    /// Why the refresh token is not tried again at all.
    pub refused: Option<&'a str>,
}

/// Ends a renewal that brought nothing, if it is still this one.
///
/// # Errors
///
/// When the database fails; the renewal then counts as dead after a while.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %key.connection))]
pub async fn fail_refresh(
    db: impl PgExecutor<'_>,
    key: RowKey,
    version: i64,
    begun: Begun,
    failure: Failure<'_>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update connection_credentials
            set refresh_begun_at = null, refresh_failures = refresh_failures + 1,
                refresh_lost_at = coalesce(refresh_lost_at, case when $5 then $4::timestamptz end),
                refresh_not_before = clock_timestamp() + make_interval(secs => $6), refused = $7
          where connection_id = $1 and origin = $2 and version = $3 and refresh_begun_at = $4",
        key.connection as ConnectionId,
        key.origin as Origin,
        version,
        jiff_sqlx::Timestamp::from(begun.at) as jiff_sqlx::Timestamp,
        failure.lost,
        failure.pause.as_secs_f64(),
        failure.refused,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lets the renewal of a connection be tried again: a person has acted.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn forget_refusal(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update connection_credentials set refused = null, refresh_not_before = null
          where connection_id = $1 and refused is not null",
        connection as ConnectionId,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The sealed values of up to `limit` rows after `after`, in the order of their keys, locked until
/// the transaction ends.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn sealed_rows(
    db: impl PgExecutor<'_>,
    after: Option<RowKey>,
    limit: i64,
) -> Result<Vec<SealedRow>, StoreError> {
    let rows = sqlx::query!(
        r#"select connection_id as "connection: ConnectionId", origin as "origin: Origin",
                  lane as "lane: Lane", webhook_secret as "webhook_secret: Sealed",
                  notice_secret as "notice_secret: Sealed",
                  token as "token: Sealed", refresh_token as "refresh_token: Sealed",
                  client_secret as "client_secret: Sealed"
             from connection_credentials c join connections on id = connection_id
            where $1::integer is null or (connection_id, origin) > ($1, $2)
            order by connection_id, origin limit $3
              for update of c"#,
        after.map(|key| key.connection) as Option<ConnectionId>,
        after.map(|key| key.origin) as Option<Origin>,
        limit,
    )
    .fetch_all(db)
    .await?;
    let rows = rows.into_iter().map(|row| SealedRow {
        key: RowKey { connection: row.connection, origin: row.origin },
        lane: row.lane,
        webhook_secret: row.webhook_secret,
        notice_secret: row.notice_secret,
        token: row.token,
        refresh_token: row.refresh_token,
        client_secret: row.client_secret,
    });
    Ok(rows.collect())
}

/// Writes the sealed values of a row that [`sealed_rows`] has locked.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %row.key.connection))]
pub async fn reseal(db: impl PgExecutor<'_>, row: &SealedRow) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "update connection_credentials
            set webhook_secret = $3, token = $4, refresh_token = $5, client_secret = $6,
                notice_secret = $7
          where connection_id = $1 and origin = $2",
        row.key.connection as ConnectionId,
        row.key.origin as Origin,
        row.webhook_secret.as_ref() as Option<&Sealed>,
        row.token.as_ref() as Option<&Sealed>,
        row.refresh_token.as_ref() as Option<&Sealed>,
        row.client_secret.as_ref() as Option<&Sealed>,
        row.notice_secret.as_ref() as Option<&Sealed>,
    )
    .execute(db)
    .await?;
    StoreError::expect_rows("connection_credentials", 1, done.rows_affected())
}
