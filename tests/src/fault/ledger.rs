//! What the platforms told against what the mirror holds: nothing lost, nothing twice, no window
//! over its quota.

use std::collections::BTreeMap;

use simulator::{Platform, Simulator};
use sqlx::PgPool;

use crate::mirror::{self, Name};
use crate::scene::Scene;

/// The platforms of these stories.
const PLATFORMS: [Platform; 2] = [Platform::Klaviyo, Platform::Eventbrite];

/// What does not balance; empty when all does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Records of which a notice told and that are not as they are in truth, and notices that were
    /// accepted and not answered, or given up.
    pub lost: Vec<String>,
    /// Records with more effects in the history than there were changes.
    pub twice: Vec<String>,
    /// Windows with more requests than their limit, and refusals.
    pub over_quota: Vec<String>,
}

impl Ledger {
    /// Draws it up.
    ///
    /// - `changes`: how often each record was changed, with a notice each time.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn of(scene: &Scene, changes: &BTreeMap<Name, u64>) -> anyhow::Result<Self> {
        Ok(Self {
            lost: lost(scene, changes).await?,
            twice: twice(&scene.db, changes).await?,
            over_quota: over_quota(&scene.platforms),
        })
    }

    /// Whether nothing is wrong.
    pub fn balances(&self) -> bool {
        *self == Self::default()
    }
}

async fn lost(scene: &Scene, changes: &BTreeMap<Name, u64>) -> anyhow::Result<Vec<String>> {
    let wrong = mirror::compare(&scene.truth(), &mirror::mirrored(&scene.db).await?);
    let wrong = wrong.into_iter().filter(|wrong| changes.contains_key(&wrong.name));
    let mut lost: Vec<String> =
        wrong.map(|wrong| format!("{:?} {}", wrong.name, wrong.what)).collect();
    let stats = scene.platforms.stats();
    for platform in PLATFORMS {
        let notices = &stats.of(platform).webhooks;
        for (count, what) in [
            (notices.pending, "under way"),
            (notices.abandoned, "given up"),
            (notices.dropped, "dropped"),
        ] {
            if count > 0 {
                lost.push(format!("{count} notices of {} {what}", platform.name()));
            }
        }
    }
    for (sql, what) in [
        ("select count(*) from inbox", "notices are open"),
        ("select count(*) from dead_letters", "jobs were given up"),
        ("select count(*) from connections where parked_at is not null", "connections are parked"),
        ("select count(*) from bulk_runs where state = 'running'", "scans stand still"),
    ] {
        let count = scene.count(sql).await?;
        if count > 0 {
            lost.push(format!("{count} {what}"));
        }
    }
    Ok(lost)
}

async fn twice(db: &PgPool, changes: &BTreeMap<Name, u64>) -> anyhow::Result<Vec<String>> {
    let effects: Vec<(String, String, String, i64)> = sqlx::query_as(
        "select c.platform, o.record_type, o.external_id, count(*)
           from sync_operations o join connections c on c.id = o.connection_id
          where o.outcome in ('created', 'changed', 'deleted', 'restored')
          group by 1, 2, 3",
    )
    .fetch_all(db)
    .await?;
    let mut twice = Vec::new();
    for (platform, record_type, id, effects) in effects {
        let name = (platform, record_type, id);
        let due = changes.get(&name).copied().unwrap_or_default();
        if u64::try_from(effects)? > due {
            twice.push(format!("{name:?} changed {due} times and has {effects} effects"));
        }
    }
    let same_write: Vec<(String, i64)> = sqlx::query_as(
        "select external_id, count(*) from sync_operations
          where outcome in ('created', 'changed', 'deleted', 'restored')
          group by connection_id, record_type, external_id, fetched_at having count(*) > 1",
    )
    .fetch_all(db)
    .await?;
    twice.extend(same_write.iter().map(|(id, count)| format!("{id} was written {count} times")));
    Ok(twice)
}

fn over_quota(platforms: &Simulator) -> Vec<String> {
    let mut over = Vec::new();
    for platform in PLATFORMS {
        let stats = platforms.stats();
        let stats = stats.of(platform);
        if stats.refusals > 0 {
            over.push(format!("{} refused {} requests", platform.name(), stats.refusals));
        }
        for quota in stats.quotas.iter().filter(|quota| quota.most_in_a_window > quota.limit) {
            over.push(format!("{}: {} in a window", quota.name, quota.most_in_a_window));
        }
    }
    over
}
