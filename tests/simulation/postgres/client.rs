//! A process' way to Postgres.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::drift::Excluded;
use common::ids::{ConnectionId, ExternalId, RecordType};
use common::store::bulk_runs::BulkRun;
use common::store::connections::{LaneOpening, Parking};
use common::store::credentials::Origin;
use common::store::dead_letters::NewDeadLetter;
use common::store::inbox::{OpenNotice, OpenNotices, SweepPage};
use common::store::records::{Flags, StoredRecord, Verdict, WriteBatch};
use common::store::sent_requests::SentRequest;
use common::store::{Store, StoreError};
use jiff::Timestamp;

use crate::plan::Server;
use crate::process::Process;
use crate::world::State;

use super::{Key, job_of, lane_of, time, us};

/// See the module.
#[derive(Debug)]
pub(crate) struct Client(pub Arc<Process>);

impl Client {
    async fn ask<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State, u64) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let Process { world, postgres, .. } = &*self.0;
        let answer = world.ask(postgres, Server::Postgres, act).await;
        answer.ok_or(StoreError::Database(sqlx::Error::PoolTimedOut))
    }
}

#[async_trait]
impl Store for Client {
    async fn open_for(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
        ids: &[ExternalId],
    ) -> Result<OpenNotices, StoreError> {
        let (record_type, ids) = (record_type.clone(), ids.to_vec());
        self.ask(move |state, now| {
            let asked = |(of, kind, id): &Key| {
                *of == connection && *kind == record_type && ids.contains(id)
            };
            let open = state.postgres.inbox.iter().filter(|(_, notice)| asked(&notice.record));
            let notices = open.map(|(id, notice)| OpenNotice {
                id: *id,
                external_id: notice.record.2.clone(),
                received_at: time(notice.received_at),
            });
            OpenNotices { now: time(now), notices: notices.collect() }
        })
        .await
    }

    async fn excluded(&self, _: ConnectionId, _: &RecordType) -> Result<Excluded, StoreError> {
        self.ask(|_, _| Excluded::default()).await
    }

    async fn stored(
        &self,
        connection: ConnectionId,
        record_type: &RecordType,
        ids: &[ExternalId],
    ) -> Result<HashMap<ExternalId, StoredRecord>, StoreError> {
        let keys: Vec<Key> =
            ids.iter().map(|id| (connection, record_type.clone(), id.clone())).collect();
        self.ask(move |state, _| {
            let row = |key: Key| {
                let row = state.postgres.mirror.get(&key)?;
                let record = StoredRecord {
                    hash: Some(row.hash),
                    schema_version: row.schema_version,
                    payload: Some(row.payload.clone()),
                    flags: Flags(0),
                };
                Some((key.2, record))
            };
            keys.into_iter().filter_map(row).collect()
        })
        .await
    }

    async fn write(&self, batch: &WriteBatch) -> Result<Vec<Verdict>, StoreError> {
        let lane = lane_of(batch.connection);
        for look in &batch.looks {
            let key = (batch.connection, batch.record_type.clone(), look.external_id.clone());
            self.0.holds(&lane, &job_of(&key), "writes");
        }
        let batch = batch.clone();
        self.ask(move |state, now| state.write(&batch, now)).await
    }

    async fn bury(&self, letter: &NewDeadLetter, tried_for: Duration) -> Result<(), StoreError> {
        let letter = letter.clone();
        self.ask(move |state, now| state.bury(&letter, us(tried_for), now)).await
    }

    async fn record_sent(
        &self,
        connection: ConnectionId,
        permits: &[i64],
    ) -> Result<(), StoreError> {
        let permits = permits.to_vec();
        self.ask(move |state, now| {
            let sent = state.postgres.sent.entry(connection).or_default();
            sent.extend(permits.into_iter().map(|permit| (permit, now)));
        })
        .await
    }

    async fn park_refused(
        &self,
        _: ConnectionId,
        _: Option<Origin>,
        _: Option<i64>,
        _: &str,
    ) -> Result<Parking, StoreError> {
        unreachable!("no platform refuses its token")
    }

    async fn is_parked(&self, _: ConnectionId) -> Result<bool, StoreError> {
        self.ask(|_, _| false).await
    }

    async fn open_lane(&self, connection: ConnectionId) -> Result<LaneOpening, StoreError> {
        self.ask(move |state, now| {
            let first_time = state.postgres.opened.insert(connection);
            state.tell(now, format_args!("{} opens, {first_time}", lane_of(connection)));
            LaneOpening { first_time }
        })
        .await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.ask(|_, now| time(now)).await
    }

    async fn sent_since(
        &self,
        connection: ConnectionId,
        window: Duration,
    ) -> Result<Vec<SentRequest>, StoreError> {
        self.ask(move |state, now| {
            let sent = state.postgres.sent.get(&connection).into_iter().flatten();
            sent.filter(|(_, at)| at + us(window) > now)
                .map(|(permit_id, at)| SentRequest { permit_id: *permit_id, sent_at: time(*at) })
                .collect()
        })
        .await
    }

    async fn sweep(&self, after: i64, age: Duration, limit: u32) -> Result<SweepPage, StoreError> {
        self.ask(move |state, now| state.sweep(after, us(age), limit, now)).await
    }

    async fn running(&self) -> Result<Vec<BulkRun>, StoreError> {
        self.ask(|_, _| Vec::new()).await
    }

    async fn suspected(
        &self,
        _: ConnectionId,
        _: &RecordType,
        _: Duration,
        _: u32,
    ) -> Result<Vec<ExternalId>, StoreError> {
        self.ask(|_, _| Vec::new()).await
    }
}
