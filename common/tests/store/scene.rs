//! A connection, its records and verbs to tell stories with.

use std::time::Duration;

use common::drift::ContentHash;
use common::ids::{ConnectionId, ExternalId, Fence, RecordType};
use common::job::{JobId, Priority};
use common::store::connections::{NewConnection, upsert};
use common::store::habits::Planning;
use common::store::inbox::{Delivery, OpenNotices, Source};
use common::store::records::{Finding, Flags, Look, Trigger, Verdict, WriteBatch};
use common::store::{StoreError, inbox, now, records};
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;
use sqlx::PgPool;

/// The gap between two looks that makes a deletion, in every story.
pub(crate) const CONFIRM_AFTER: Duration = Duration::from_secs(30);

/// One connection, one record type, and an instant that the story starts at.
pub(crate) struct Scene {
    pub(crate) db: PgPool,
    pub(crate) connection: ConnectionId,
    pub(crate) record_type: RecordType,
    pub(crate) start: Timestamp,
}

impl Scene {
    pub(crate) async fn new(db: PgPool) -> Self {
        let lane = "klaviyo/main".parse().unwrap();
        let new = NewConnection { lane, account: String::new(), endpoint_hash: [1; 32] };
        let connection = upsert(&db, &[new]).await.unwrap()[0].id;
        let start = now(&db).await.unwrap();
        Self { db, connection, record_type: "profile".into(), start }
    }

    /// The same, with a start that is an hour old.
    pub(crate) async fn an_hour_ago(db: PgPool) -> Self {
        let scene = Self::new(db).await;
        Self { start: scene.start - SignedDuration::from_hours(1), ..scene }
    }

    /// The instant `seconds` after the start.
    pub(crate) fn at(&self, seconds: i64) -> Timestamp {
        self.start + SignedDuration::from_secs(seconds)
    }

    /// A write of `looks` whose fetch began `seconds` after the start; fence 1, by a webhook.
    pub(crate) fn fetch(&self, seconds: i64, looks: Vec<Look>) -> WriteBatch {
        WriteBatch {
            connection: self.connection,
            record_type: self.record_type.clone(),
            trigger: Trigger::Webhook,
            job_id: JobId::from("profile:a"),
            fence: Fence(1),
            fetched_at: self.at(seconds),
            run: None,
            listed_since: None,
            looks,
            close_notices: Vec::new(),
            confirm_after: CONFIRM_AFTER,
            young: Duration::ZERO,
            planning: Planning::default(),
            repairs_per_hour: u32::MAX,
            trace: String::new(),
        }
    }

    pub(crate) async fn write(&self, batch: &WriteBatch) -> Result<Vec<Verdict>, StoreError> {
        let mut tx = self.db.begin().await?;
        let verdicts = records::write(&mut tx, batch).await?;
        tx.commit().await?;
        Ok(verdicts)
    }

    /// Writes one look and tells what became of it.
    pub(crate) async fn look(&self, seconds: i64, look: Look) -> Verdict {
        self.write(&self.fetch(seconds, vec![look])).await.unwrap()[0]
    }

    /// A webhook that names these records.
    pub(crate) async fn notice(&self, ids: &[&str]) {
        let notices: Vec<_> =
            ids.iter().map(|id| (self.record_type.clone(), ExternalId::from(*id))).collect();
        let delivery = Delivery {
            connection: self.connection,
            priority: Priority::Webhook,
            source: Source::Webhook,
            trace: "00-trace",
            notices: &notices,
        };
        assert_eq!(inbox::accept(&self.db, &delivery).await.unwrap(), ids.len());
    }

    pub(crate) async fn open(&self, ids: &[&str]) -> OpenNotices {
        let ids: Vec<ExternalId> = ids.iter().map(|id| ExternalId::from(*id)).collect();
        inbox::open_for(&self.db, self.connection, &self.record_type, &ids).await.unwrap()
    }

    /// The records that come due by now, by id.
    pub(crate) async fn due(&self) -> Vec<String> {
        let now = now(&self.db).await.unwrap();
        let rows = records::next_due(&self.db, self.connection, 10_000).await.unwrap();
        let due = rows.into_iter().filter(|row| row.next_check_at.unwrap() <= now);
        let mut ids: Vec<String> = due.map(|row| row.external_id.into()).collect();
        ids.sort();
        ids
    }

    pub(crate) async fn count_open(&self) -> i64 {
        inbox::count_open(&self.db, self.connection).await.unwrap()
    }

    /// What is mirrored of a record: its payload and its flags.
    pub(crate) async fn mirrored(&self, id: &str) -> Option<(Option<String>, Flags)> {
        let ids = [ExternalId::from(id)];
        let stored = records::stored(&self.db, self.connection, &self.record_type, &ids);
        let record = stored.await.unwrap().remove(&ids[0])?;
        Some((record.payload, record.flags))
    }
}

/// A look that found the record with this content; equal numbers are equal contents.
pub(crate) fn found(id: &str, content: u8) -> Look {
    found_as(id, content, &format!(r#"{{"n": {content}}}"#))
}

/// The same, with a payload of its own.
pub(crate) fn found_as(id: &str, content: u8, payload: &str) -> Look {
    let finding = Finding::Found {
        payload: RawValue::from_string(payload.to_owned()).unwrap(),
        hash: ContentHash([content; 16]),
        schema_version: 1,
        remote_version: None,
        rehash: None,
        diff: None,
    };
    Look { external_id: id.into(), finding }
}

pub(crate) fn missing(id: &str) -> Look {
    Look { external_id: id.into(), finding: Finding::Missing }
}

pub(crate) fn unclear(id: &str) -> Look {
    let finding = Finding::Unclear { reason: "too young".to_owned() };
    Look { external_id: id.into(), finding }
}
