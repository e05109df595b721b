//! The pass in the background that goes round all records of a lane.

use common::ids::{ConnectionId, RecordType};
use common::store::StoreError;
use common::store::records::{self, Replanned};
use sqlx::PgPool;

use super::choose::{Kind, moved, next_look};
use super::memory::Memory;
use super::whole;

/// It goes on once in so many ticks, unless it hurries.
const EVERY: f64 = 10.0;
/// Records that it plans anew then, at least and at most.
const WALKED: (f64, f64) = (50.0, 1_000.0);
/// Of the time to its next look, so much sooner it must come due to be written.
const WORTH_WRITING: f64 = 0.05;

/// Plans some records anew: a price that fell, or habits that changed, make them due earlier than
/// they stand in the index. What comes due too early is corrected when it does.
///
/// - `outages`: the record types whose webhooks fail. When these change it hurries.
pub(super) async fn walk(
    db: &PgPool,
    connection: ConnectionId,
    memory: &mut Memory,
    kinds: &[Kind],
    outages: &[RecordType],
) -> Result<(), StoreError> {
    if memory.outages != outages {
        (memory.outages, memory.hurry, memory.walked) = (outages.to_vec(), true, None);
    }
    if !memory.hurry && memory.ticks < EVERY {
        return Ok(());
    }
    // After a rest it makes up for what it left out.
    let usual = (2.0 * memory.looks).max(WALKED.0 * memory.ticks / EVERY);
    let most = if memory.hurry { WALKED.1 } else { usual.clamp(WALKED.0, WALKED.1) };
    (memory.ticks, memory.looks) = (0.0, 0.0);
    let rows = records::walk(db, connection, memory.walked.as_ref(), whole(most)).await?;
    let mut sooner: Vec<Replanned> = Vec::new();
    for row in &rows {
        let Some(kind) = kinds.iter().find(|kind| kind.record_type == row.record_type) else {
            continue;
        };
        let at = next_look(row, kind, kind.planning.looks_per_request);
        let is_sooner = row.next_check_at.is_none_or(|was| {
            let whole = was.duration_since(row.last_verified_at).as_secs_f64();
            was.duration_since(at).as_secs_f64() > WORTH_WRITING * whole.max(1.0)
        });
        if is_sooner {
            sooner.push(moved(row, at, false));
        }
    }
    records::replan(db, connection, &sooner).await?;
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let is_end = (rows.len() as f64) < most.floor();
    let last = rows.into_iter().last().map(|row| (row.record_type, row.external_id));
    memory.walked = if is_end { None } else { last };
    memory.hurry &= !is_end;
    Ok(())
}
