//! Who leads the schedulers: an advisory lock on a connection of its own, and a row with the term.
//!
//! The lock ends with its session, and the server ends the session when it hears nothing for the
//! length of a lease: whether the leader was killed, frozen or cut off. The row keeps the next one
//! from beginning while the last one may still believe that it leads, also where another server has
//! taken Postgres' place and knows no locks.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use sqlx::{ConnectOptions, Connection, PgConnection, PgExecutor};

use super::StoreError;

/// The advisory lock, among those of this database: "sync" and "lead" in ASCII.
const LOCK: (i32, i32) = (0x7379_6e63, 0x6c65_6164);

/// Who leads, or led last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Grows with each that begins to lead.
    pub term: i64,
    /// Host and process id.
    pub leader: String,
    /// When the term began.
    pub began_at: Timestamp,
    /// The last moment at which it may believe that it leads.
    pub trusted_until: Timestamp,
    /// Whether that moment is still to come.
    pub leads: bool,
}

/// A connection that stands for election, or holds the lock. Its loss is the loss of the lock.
#[derive(Debug)]
pub struct Candidate {
    connection: PgConnection,
    lease: Duration,
    has_lock: bool,
}

impl Candidate {
    /// Connects.
    ///
    /// - `url`: leads to Postgres itself. A proxy that pools transactions gives each statement to
    ///   another session, and the lock with it.
    /// - `lease`: how long a leader is trusted after each check; the server ends a session that was
    ///   silent for so long. At least a second.
    ///
    /// # Errors
    ///
    /// When the address is not one or the server cannot be reached. Waits without a limit.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub async fn connect(url: &SecretString, lease: Duration) -> Result<Self, StoreError> {
        let ms = lease.as_millis().to_string();
        let options = super::address(url)?.options([
            ("idle_session_timeout", ms.as_str()),
            ("statement_timeout", ms.as_str()),
            ("lock_timeout", ms.as_str()),
        ]);
        Ok(Self { connection: options.connect().await?, lease, has_lock: false })
    }

    /// Tries to begin a term; its number when it has begun. `None` while another leads, or may
    /// believe so.
    ///
    /// # Errors
    ///
    /// When the database fails; then the lock may be lost, and this is of no use any more.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub async fn begin(&mut self, leader: &str) -> Result<Option<i64>, StoreError> {
        if !self.has_lock {
            let (high, low) = LOCK;
            self.has_lock =
                sqlx::query_scalar!(r#"select pg_try_advisory_lock($1, $2) as "held!""#, high, low)
                    .fetch_one(&mut self.connection)
                    .await?;
        }
        if !self.has_lock {
            return Ok(None);
        }
        let term = sqlx::query_scalar!(
            "insert into leadership (term, leader, trusted_until)
             values (1, $1, clock_timestamp() + make_interval(secs => $2))
                 on conflict (id) do update
                    set term = leadership.term + 1, leader = excluded.leader,
                        began_at = excluded.began_at, trusted_until = excluded.trusted_until
                  where leadership.trusted_until <= clock_timestamp()
             returning term",
            leader,
            self.lease.as_secs_f64(),
        )
        .fetch_optional(&mut self.connection)
        .await?;
        Ok(term)
    }

    /// Checks that this session has the lock and that the term is the latest, and says that it is
    /// trusted for another lease. `false` when it has lost either.
    ///
    /// # Errors
    ///
    /// When the database fails; then the lock may be lost.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub async fn confirm(&mut self, term: i64) -> Result<bool, StoreError> {
        let (high, low) = LOCK;
        let confirmed = sqlx::query!(
            "update leadership set trusted_until = clock_timestamp() + make_interval(secs => $2)
              where term = $1
                and exists (select from pg_locks
                             where locktype = 'advisory' and pid = pg_backend_pid() and granted
                               and classid::bigint = $3::integer and objid::bigint = $4::integer)",
            term,
            self.lease.as_secs_f64(),
            high,
            low,
        )
        .execute(&mut self.connection)
        .await?;
        Ok(confirmed.rows_affected() == 1)
    }

    /// Gives the term up and ends the session, so that another may begin at once.
    ///
    /// # Errors
    ///
    /// When the database fails; then the lease has to pass first.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub async fn resign(mut self, term: i64) -> Result<(), StoreError> {
        sqlx::query!(
            "update leadership set trusted_until = clock_timestamp() where term = $1",
            term
        )
        .execute(&mut self.connection)
        .await?;
        Ok(self.connection.close().await?)
    }
}

/// Who leads the schedulers, or led them last; `None` when nobody ever did.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn current(db: impl PgExecutor<'_>) -> Result<Option<Leadership>, StoreError> {
    let row = sqlx::query!(
        r#"select term, leader, began_at as "began_at: jiff_sqlx::Timestamp",
                  trusted_until as "trusted_until: jiff_sqlx::Timestamp",
                  trusted_until > clock_timestamp() as "leads!"
             from leadership"#
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Leadership {
        term: row.term,
        leader: row.leader,
        began_at: row.began_at.to_jiff(),
        trusted_until: row.trusted_until.to_jiff(),
        leads: row.leads,
    }))
}
