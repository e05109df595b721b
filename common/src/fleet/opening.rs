//! Opening a lane whose buckets and ledgers Redis does not know: it is new, or all was lost.

use std::time::Duration;

use anyhow::Context;
use tokio::time::sleep;
use tracing::info;

use crate::fleet::{Connection, Fleet};
use crate::ids::Lane;
use crate::queue::{Ledger, Queue};
use crate::store::Store;

/// Opens the lane of a connection of `fleet`: see [`open_connection`].
///
/// # Errors
///
/// When there is no such connection, and as there.
pub async fn open_lane(fleet: &Fleet, lane: &Lane) -> anyhow::Result<()> {
    let connection = fleet.connections.get(lane).context("no such connection")?;
    open_connection(&fleet.queue, &fleet.db, connection).await
}

/// Rebuilds the ledgers of a connection's lane from Postgres and opens it.
///
/// A lane that was never opened cannot have sent anything: its ledgers are empty. Otherwise the
/// quotas with long windows are rebuilt from the requests that were recorded before they were sent
/// ([`crate::quota::Quota::is_recorded`]); the others stay closed for one window, which is short.
///
/// # Errors
///
/// When a store cannot be reached; the lane then stays closed until its windows have passed.
pub async fn open_connection(
    queue: &dyn Queue,
    store: &dyn Store,
    connection: &Connection,
) -> anyhow::Result<()> {
    let lane = connection.lane();
    if store.is_parked(connection.id).await? {
        // Redis does not know that any more. Before it is opened, so that nothing slips through.
        queue.pause(lane).await?;
    }
    // What is found out below is right for this age of the index only.
    let generation = queue.epoch(lane).await?.generation;
    let quotas = &connection.limits.quotas;
    let opening = store.open_lane(connection.id).await?;
    let ledgers = if opening.first_time {
        vec![Ledger::Empty; quotas.len()]
    } else {
        // Permits that were granted just before the loss are recorded, or not used any more, after
        // this: a permit's request is recorded before it is sent, within its use-by time.
        sleep(queue.settings().permit_use_by).await;
        let mut ledgers = Vec::new();
        for quota in quotas {
            ledgers.push(if quota.is_recorded() {
                let settings = queue.settings();
                let longest = quota.window + settings.permit_use_by + settings.request_timeout;
                // The time before the rows: an age that is too small holds a slot too long.
                let now = store.now().await?;
                let sent = store.sent_since(connection.id, longest).await?;
                let age = |sent_at| Duration::try_from(now.duration_since(sent_at));
                Ledger::Sent(sent.iter().map(|r| age(r.sent_at).unwrap_or_default()).collect())
            } else {
                Ledger::Keep
            });
        }
        ledgers
    };
    let opened = queue.open_in(lane, generation, &ledgers).await?;
    if opened {
        let rebuilt: usize = ledgers
            .iter()
            .map(|ledger| if let Ledger::Sent(ages) = ledger { ages.len() } else { 0 })
            .sum();
        info!(%lane, first_time = opening.first_time, rebuilt, "lane opened");
    }
    Ok(())
}
