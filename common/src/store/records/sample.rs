//! Random records, without reading all of them.
//!
//! Each record has a fixed place on the circle of 64-bit hashes, and an index in that order.

use sqlx::PgExecutor;

use crate::freshness::grid::GridEvidence;
use crate::ids::{ConnectionId, ExternalId, RecordType};
use crate::store::StoreError;

/// The length of the circle.
const CIRCLE: f64 = 18_446_744_073_709_551_616.0;

/// Some records that stand side by side on the circle.
#[derive(Clone, Debug, Default)]
pub struct Sampled {
    /// What was seen of their habits, what they are worth and how many seconds ago they were known
    /// to be true.
    pub records: Vec<(GridEvidence, f64, f64)>,
    /// How many records there are, by how close they stand; exact where all were read.
    pub population: f64,
}

/// The `limit` records after `start` on the circle. Nearly uniform, and good enough to plan by: a
/// record is drawn in proportion to the sum of the `limit` gaps before it.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn random(
    db: impl PgExecutor<'_> + Copy,
    connection: ConnectionId,
    record_type: &RecordType,
    start: i64,
    limit: u32,
) -> Result<Sampled, StoreError> {
    let mut records = Vec::new();
    let mut passed = 0.0;
    // From the start to the end of the circle, then from its begin.
    for (from, until) in [(start, i64::MAX), (i64::MIN, start)] {
        let wanted = i64::from(limit) - i64::try_from(records.len()).unwrap_or(i64::MAX);
        if wanted <= 0 {
            break;
        }
        let rows = sqlx::query!(
            r#"select hashtextextended(external_id, 0) as "key!", evidence, weight,
                      extract(epoch from clock_timestamp() - last_verified_at)::float8 as "age!"
                 from external_integrations
                where connection_id = $1 and record_type = $2 and flags & 1 = 0
                  and hashtextextended(external_id, 0) >= $3
                  and hashtextextended(external_id, 0) < $4
                order by hashtextextended(external_id, 0) limit $5"#,
            connection as ConnectionId,
            record_type.as_str(),
            from,
            until,
            wanted,
        )
        .fetch_all(db)
        .await?;
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= wanted;
        let end = rows.last().filter(|_| full).map_or(until, |row| row.key);
        passed += distance(from, end);
        records.extend(rows.into_iter().map(|row| {
            let evidence = row.evidence.as_deref().map(GridEvidence::from_bytes);
            (evidence.unwrap_or_default(), f64::from(row.weight), row.age.max(0.0))
        }));
    }
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    let count = records.len() as f64;
    let population = if passed > 0.0 { count * (CIRCLE / passed).max(1.0) } else { count };
    Ok(Sampled { records, population })
}

/// The records in a window of the circle that begins at `start`: each one is in it with probability
/// `share`, wherever its neighbours stand, so that a start drawn uniformly makes an unbiased
/// sample. At most `limit`; choose `share` so that this is far from enough.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn window(
    db: impl PgExecutor<'_> + Copy,
    connection: ConnectionId,
    record_type: &RecordType,
    start: i64,
    share: f64,
    limit: u32,
) -> Result<Vec<ExternalId>, StoreError> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates at the whole circle"
    )]
    let length = (share.clamp(0.0, 1.0) * CIRCLE) as u64;
    let (end, wraps) = {
        let end = start.wrapping_add_unsigned(length);
        (end, length > 0 && end <= start)
    };
    let parts = if wraps { vec![(start, i64::MAX), (i64::MIN, end)] } else { vec![(start, end)] };
    let mut ids = Vec::new();
    for (from, until) in parts {
        let found = sqlx::query_scalar!(
            r#"select external_id as "external_id: ExternalId" from external_integrations
                where connection_id = $1 and record_type = $2 and flags & 1 = 0
                  and hashtextextended(external_id, 0) >= $3
                  and hashtextextended(external_id, 0) < $4
                order by hashtextextended(external_id, 0) limit $5"#,
            connection as ConnectionId,
            record_type.as_str(),
            from,
            until,
            i64::from(limit),
        )
        .fetch_all(db)
        .await?;
        ids.extend(found);
    }
    Ok(ids)
}

/// From one place to a later one.
fn distance(from: i64, to: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share of the circle")]
    let length = to.wrapping_sub(from).cast_unsigned() as f64;
    length
}
