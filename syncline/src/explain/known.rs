//! What Postgres knows of a job's record.

use common::job::Task;
use common::store::bulk_runs::{self, BulkRun};
use common::store::connections::Connection;
use common::store::dead_letters::{self, DeadLetter};
use common::store::inbox::{self, OpenNotice};
use common::store::records::{self, RowStanding};
use sqlx::PgPool;

/// Everything that explains why the record is not fresh, apart from the queue.
#[derive(Debug)]
pub(super) struct Known {
    /// Whose record it is.
    pub(super) connection: Connection,
    /// Its row in the mirror; never of a scan.
    pub(super) row: Option<RowStanding>,
    /// Notices that no write has answered, oldest first; none of a scan.
    pub(super) notices: Vec<OpenNotice>,
    /// The job was given up.
    pub(super) dead_letter: Option<DeadLetter>,
    /// The run that a scan belongs to.
    pub(super) run: Option<BulkRun>,
}

impl Known {
    /// Asks.
    pub(super) async fn of(
        db: &PgPool,
        connection: Connection,
        task: &Task,
    ) -> anyhow::Result<Self> {
        let id = connection.id;
        let dead_letter = dead_letters::of_job(db, id, &task.job_id()).await?;
        let mut known = Self { connection, row: None, notices: Vec::new(), dead_letter, run: None };
        match task {
            Task::Check { record_type, external_id } => {
                known.row = records::row_standing(db, id, record_type, external_id).await?;
                let ids = std::slice::from_ref(external_id);
                known.notices = inbox::open_for(db, id, record_type, ids).await?.notices;
            }
            Task::Scan { record_type } => {
                known.run = bulk_runs::running(db, id, record_type).await?;
            }
            Task::Probe => {}
        }
        Ok(known)
    }
}
