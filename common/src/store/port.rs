//! What a check, the opening of a lane and the sweeper need of Postgres: of Postgres itself, or of
//! the model of it on which they are simulated.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::PgPool;

use super::bulk_runs::{self, BulkRun};
use super::connections::{self, LaneOpening, Parking};
use super::credentials::Origin;
use super::dead_letters::{self, NewDeadLetter};
use super::inbox::{self, OpenNotices, SweepPage};
use super::records::{self, StoredRecord, Verdict, WriteBatch};
use super::sent_requests::{self, SentRequest};
use super::{StoreError, excluded_fields};
use crate::drift::Excluded;
use crate::ids::{ConnectionId, ExternalId, RecordType};

/// See the module. What each operation does is told where the function of its name is.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// [`inbox::open_for`].
    async fn open_for(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
        ids: &[ExternalId],
    ) -> Result<OpenNotices, StoreError>;
    /// [`excluded_fields::of`].
    async fn excluded(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
    ) -> Result<Excluded, StoreError>;
    /// [`records::stored`].
    async fn stored(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
        ids: &[ExternalId],
    ) -> Result<HashMap<ExternalId, StoredRecord>, StoreError>;
    /// [`records::write()`], in a transaction of its own.
    async fn write(&self, batch: &WriteBatch) -> Result<Vec<Verdict>, StoreError>;
    /// [`dead_letters::bury`].
    async fn bury(&self, letter: &NewDeadLetter, tried_for: Duration) -> Result<(), StoreError>;
    /// [`sent_requests::record`].
    async fn record_sent(
        &self,
        connection: ConnectionId,
        permits: &[i64],
    ) -> Result<(), StoreError>;
    /// [`connections::park_refused`].
    async fn park_refused(
        &self,
        connection: ConnectionId,
        origin: Option<Origin>,
        version: Option<i64>,
        reason: &str,
    ) -> Result<Parking, StoreError>;

    /// [`connections::is_parked`].
    async fn is_parked(&self, connection: ConnectionId) -> Result<bool, StoreError>;
    /// [`connections::open_lane`].
    async fn open_lane(&self, connection: ConnectionId) -> Result<LaneOpening, StoreError>;
    /// [`super::now`].
    async fn now(&self) -> Result<Timestamp, StoreError>;
    /// [`sent_requests::since`].
    async fn sent_since(
        &self,
        connection: ConnectionId,
        window: Duration,
    ) -> Result<Vec<SentRequest>, StoreError>;

    /// [`inbox::sweep`].
    async fn sweep(&self, after: i64, age: Duration, limit: u32) -> Result<SweepPage, StoreError>;
    /// [`bulk_runs::all_running`].
    async fn running(&self) -> Result<Vec<BulkRun>, StoreError>;
    /// [`records::suspected`].
    async fn suspected(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
        confirm_after: Duration,
        limit: u32,
    ) -> Result<Vec<ExternalId>, StoreError>;
}

#[async_trait]
impl Store for PgPool {
    async fn open_for(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
        ids: &[ExternalId],
    ) -> Result<OpenNotices, StoreError> {
        inbox::open_for(self, connection, record_type, ids).await
    }

    async fn excluded(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
    ) -> Result<Excluded, StoreError> {
        excluded_fields::of(self, connection, record_type).await
    }

    async fn stored(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
        ids: &[ExternalId],
    ) -> Result<HashMap<ExternalId, StoredRecord>, StoreError> {
        records::stored(self, connection, record_type, ids).await
    }

    async fn write(&self, batch: &WriteBatch) -> Result<Vec<Verdict>, StoreError> {
        let mut tx = self.begin().await?;
        let verdicts = records::write(&mut tx, batch).await?;
        tx.commit().await?;
        Ok(verdicts)
    }

    async fn bury(&self, letter: &NewDeadLetter, tried_for: Duration) -> Result<(), StoreError> {
        dead_letters::bury(self, letter, tried_for).await
    }

    async fn record_sent(
        &self,
        connection: ConnectionId,
        permits: &[i64],
    ) -> Result<(), StoreError> {
        sent_requests::record(self, connection, permits).await
    }

    async fn park_refused(
        &self,
        connection: ConnectionId,
        origin: Option<Origin>,
        version: Option<i64>,
        reason: &str,
    ) -> Result<Parking, StoreError> {
        connections::park_refused(self, connection, origin, version, reason).await
    }

    async fn is_parked(&self, connection: ConnectionId) -> Result<bool, StoreError> {
        connections::is_parked(self, connection).await
    }

    async fn open_lane(&self, connection: ConnectionId) -> Result<LaneOpening, StoreError> {
        connections::open_lane(self, connection).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        super::now(self).await
    }

    async fn sent_since(
        &self,
        connection: ConnectionId,
        window: Duration,
    ) -> Result<Vec<SentRequest>, StoreError> {
        sent_requests::since(self, connection, window).await
    }

    async fn sweep(&self, after: i64, age: Duration, limit: u32) -> Result<SweepPage, StoreError> {
        inbox::sweep(self, after, age, limit).await
    }

    async fn running(&self) -> Result<Vec<BulkRun>, StoreError> {
        bulk_runs::all_running(self).await
    }

    async fn suspected(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
        confirm_after: Duration,
        limit: u32,
    ) -> Result<Vec<ExternalId>, StoreError> {
        records::suspected(self, connection, record_type, confirm_after, limit).await
    }
}
