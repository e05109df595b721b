//! What a person should know of and act on.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgExecutor;

use super::StoreError;
use crate::ids::{ConnectionId, Lane};

/// The most that can be open of one kind for one connection. A watcher that finds more trouble than
/// this has said enough.
pub const MAX_OPEN_OF_A_KIND: u32 = 100;
/// Longest message that is kept, in characters.
const LONGEST_MESSAGE: usize = 500;
/// Longest subject that is kept, in characters.
const LONGEST_SUBJECT: usize = 200;
/// Longest detail that is kept, in bytes of JSON.
const LONGEST_DETAIL: usize = 8 * 1024;

/// What names a trouble: while it lasts, there is one open alert for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic<'a> {
    /// Whose; `None` for the whole fleet.
    pub connection: Option<ConnectionId>,
    /// What kind of trouble, in lower-case letters, digits and `-`: `sender-off`.
    pub kind: &'a str,
    /// Of what, where a connection can have several of a kind: a record type; else empty.
    pub subject: &'a str,
}

/// What became of raising an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It was not open before.
    New,
    /// It was; now it has been seen once more.
    Again,
    /// [`MAX_OPEN_OF_A_KIND`] others are open: it was left out.
    TooMany,
}

/// An alert as Postgres has it.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Its number.
    pub id: i64,
    /// Whose; `None` for the whole fleet.
    pub lane: Option<Lane>,
    /// What kind of trouble.
    pub kind: String,
    /// Of what; may be empty.
    pub subject: String,
    /// A sentence for people, as of `last_at`.
    pub message: String,
    /// The same in figures: an object.
    pub detail: Value,
    /// When it began.
    pub raised_at: Timestamp,
    /// When it was seen last.
    pub last_at: Timestamp,
    /// How often it was seen.
    pub count: i64,
    /// When it was over; `None` while it is open.
    pub cleared_at: Option<Timestamp>,
}

/// The columns of [`Alert`] as they are selected.
struct Row {
    id: i64,
    lane: Option<Lane>,
    kind: String,
    subject: String,
    message: String,
    detail: Value,
    raised_at: jiff_sqlx::Timestamp,
    last_at: jiff_sqlx::Timestamp,
    count: i64,
    cleared_at: Option<jiff_sqlx::Timestamp>,
}

impl From<Row> for Alert {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            lane: row.lane,
            kind: row.kind,
            subject: row.subject,
            message: row.message,
            detail: row.detail,
            raised_at: row.raised_at.to_jiff(),
            last_at: row.last_at.to_jiff(),
            count: row.count,
            cleared_at: row.cleared_at.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// Says that there is trouble. Again and again while it lasts, by as many processes as like to:
/// when it began stays, how often and when it was seen last, and what is said of it, are renewed.
///
/// - `message`: one sentence for people, without bodies and secrets; cut at 500 characters.
/// - `detail`: the same in figures, an object; dropped where it is longer than 8 KiB.
///
/// # Errors
///
/// When `kind` is no kind, `detail` is no object, or the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(alert.kind = topic.kind))]
pub async fn raise(
    db: impl PgExecutor<'_>,
    topic: Topic<'_>,
    message: &str,
    detail: &Value,
) -> Result<Raised, StoreError> {
    let count = sqlx::query_scalar!(
        "insert into alerts (connection_id, kind, subject, message, detail)
         select $1, $2, $3, $4, $5::text::jsonb
          where (select count(*) from alerts
                  where cleared_at is null and connection_id is not distinct from $1
                    and kind = $2 and subject <> $3) < $6
         on conflict (connection_id, kind, subject) where cleared_at is null do update
            set message = excluded.message, detail = excluded.detail,
                last_at = clock_timestamp(), count = alerts.count + 1
         returning count",
        topic.connection as Option<ConnectionId>,
        topic.kind,
        short(topic.subject, LONGEST_SUBJECT),
        short(message, LONGEST_MESSAGE),
        text(detail),
        i64::from(MAX_OPEN_OF_A_KIND),
    )
    .fetch_optional(db)
    .await?;
    Ok(match count {
        Some(1) => Raised::New,
        Some(_) => Raised::Again,
        None => Raised::TooMany,
    })
}

/// Says that a trouble is over; `true` when its alert was open.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(alert.kind = topic.kind))]
pub async fn clear(db: impl PgExecutor<'_>, topic: Topic<'_>) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update alerts set cleared_at = clock_timestamp()
          where cleared_at is null and connection_id is not distinct from $1 and kind = $2
            and subject = $3",
        topic.connection as Option<ConnectionId>,
        topic.kind,
        short(topic.subject, LONGEST_SUBJECT),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends one alert; `true` when it was open.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn clear_one(db: impl PgExecutor<'_>, id: i64) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update alerts set cleared_at = clock_timestamp() where id = $1 and cleared_at is null",
        id,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What is open of one kind, the oldest first; `limit` of them at most.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn open_of_kind(
    db: impl PgExecutor<'_>,
    kind: &str,
    limit: u32,
) -> Result<Vec<Alert>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select alert.id, connection.lane as "lane?: Lane", alert.kind, alert.subject,
                  alert.message, alert.detail, alert.raised_at as "raised_at: jiff_sqlx::Timestamp",
                  alert.last_at as "last_at: jiff_sqlx::Timestamp", alert.count,
                  alert.cleared_at as "cleared_at: jiff_sqlx::Timestamp"
             from alerts as alert left join connections as connection
               on connection.id = alert.connection_id
            where alert.cleared_at is null and alert.kind = $1
            order by alert.raised_at, alert.id limit $2"#,
        kind,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Alert::from).collect())
}

/// What is open, the oldest first; `limit` of them at most.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn open(db: impl PgExecutor<'_>, limit: u32) -> Result<Vec<Alert>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select alert.id, connection.lane as "lane?: Lane", alert.kind, alert.subject,
                  alert.message, alert.detail, alert.raised_at as "raised_at: jiff_sqlx::Timestamp",
                  alert.last_at as "last_at: jiff_sqlx::Timestamp", alert.count,
                  alert.cleared_at as "cleared_at: jiff_sqlx::Timestamp"
             from alerts as alert left join connections as connection
               on connection.id = alert.connection_id
            where alert.cleared_at is null
            order by alert.raised_at, alert.id limit $1"#,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Alert::from).collect())
}

/// The latest, open or over, the one raised last first; `limit` of them at most.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn recent(db: impl PgExecutor<'_>, limit: u32) -> Result<Vec<Alert>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select alert.id, connection.lane as "lane?: Lane", alert.kind, alert.subject,
                  alert.message, alert.detail, alert.raised_at as "raised_at: jiff_sqlx::Timestamp",
                  alert.last_at as "last_at: jiff_sqlx::Timestamp", alert.count,
                  alert.cleared_at as "cleared_at: jiff_sqlx::Timestamp"
             from alerts as alert left join connections as connection
               on connection.id = alert.connection_id
            order by alert.raised_at desc, alert.id desc limit $1"#,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Alert::from).collect())
}

/// Forgets the alerts that were over longer ago than `keep`; returns how many. What is open stays.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn prune(db: impl PgExecutor<'_>, keep: Duration) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from alerts
          where raised_at < clock_timestamp() - make_interval(secs => $1)
            and cleared_at < clock_timestamp() - make_interval(secs => $1)",
        keep.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// A text that is not too long, without the one character that Postgres does not take.
fn short(text: &str, longest: usize) -> String {
    text.chars().filter(|character| *character != '\0').take(longest).collect()
}

/// A detail as text that Postgres takes as `jsonb`.
fn text(detail: &Value) -> String {
    let text = detail.to_string().replace(r"\u0000", r"\ufffd");
    if text.len() > LONGEST_DETAIL { r#"{"left_out": "too long"}"#.to_owned() } else { text }
}
