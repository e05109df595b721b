//! What progress and summary show: ours from Postgres, theirs from the platforms.

use serde::Deserialize;
use sqlx::{PgPool, Row};

use super::fleet::DemoFleet;

/// A quota as the platform counted it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Quota {
    pub(super) name: String,
    pub(super) limit: u32,
    pub(super) window_ms: u64,
    pub(super) taken: u64,
    pub(super) most_in_a_window: u32,
    pub(super) refused: u64,
    pub(super) utilisation: f64,
}

impl Quota {
    /// The most requests in a window, as a share of those that it allows.
    pub(super) fn fullness(&self) -> f64 {
        f64::from(self.most_in_a_window) / f64::from(self.limit)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Webhooks {
    pub(super) silent: u64,
    pub(super) notices: u64,
    pub(super) lost: u64,
    pub(super) without_webhook: u64,
    pub(super) deliveries: u64,
    pub(super) duplicated: u64,
    /// Sent with a wrong signature, to see whether it is refused,
    pub(super) probes: u64,
    /// and not refused.
    pub(super) probes_passed: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Changes {
    edits: u64,
    clock: u64,
    creations: u64,
    deletions: u64,
}

/// One platform's own account of things.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Platform {
    #[serde(rename = "platform")]
    pub(super) name: String,
    pub(super) changes: Changes,
    pub(super) webhooks: Webhooks,
    pub(super) quotas: Vec<Quota>,
    pub(super) refusals: u64,
}

impl Platform {
    /// Changes that a mirror has to show.
    pub(super) fn changed(&self) -> u64 {
        let Changes { edits, clock, creations, deletions } = self.changes;
        edits + clock + creations + deletions
    }

    /// The quota whose window was fullest.
    pub(super) fn tightest(&self) -> Option<&Quota> {
        self.quotas.iter().max_by(|a, b| a.fullness().total_cmp(&b.fullness()))
    }
}

#[derive(Debug, Deserialize)]
struct Stats {
    klaviyo: Platform,
    eventbrite: Platform,
    patreon: Platform,
    discord: Platform,
}

/// What was done for one platform.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) platform: String,
    /// Looks because of a webhook,
    pub(super) webhook_looks: i64,
    /// and because there was quota to spare.
    pub(super) spot_checks: i64,
    pub(super) pages: i64,
    pub(super) changes: i64,
    pub(super) drift_found: i64,
    pub(super) drift_repaired: i64,
}

/// How many jobs of a priority led to what.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    pub(super) trigger: String,
    pub(super) records: i64,
    pub(super) different: i64,
    pub(super) pages: i64,
}

/// The mirror of one record type.
#[derive(Clone, Debug)]
pub(super) struct Mirrored {
    pub(super) lane: String,
    pub(super) record_type: String,
    pub(super) present: i64,
    pub(super) deleted: i64,
}

/// A snapshot of everything.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub(super) platforms: [Platform; 4],
    pub(super) done: Vec<Done>,
    pub(super) jobs: Vec<Jobs>,
    pub(super) mirrored: Vec<Mirrored>,
    pub(super) notices_answered: i64,
    pub(super) notices_open: i64,
    pub(super) drift_found: i64,
    pub(super) drift_repaired: i64,
    pub(super) dead_letters: i64,
    pub(super) scans_done: i64,
}

impl Numbers {
    pub(super) async fn read(fleet: &DemoFleet) -> anyhow::Result<Self> {
        let stats: Stats = serde_json::from_value(fleet.platforms.stats().await?)?;
        let db = &fleet.db;
        let one = async |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(db).await;
        Ok(Self {
            platforms: [stats.klaviyo, stats.eventbrite, stats.patreon, stats.discord],
            done: done(db).await?,
            jobs: jobs(db).await?,
            mirrored: mirrored(db).await?,
            notices_answered: one(
                "select coalesce(sum(notices_closed), 0)::bigint from sync_operations",
            )
            .await?,
            notices_open: one("select count(*) from inbox").await?,
            drift_found: one("select count(*) from drift_events").await?,
            drift_repaired: one("select count(*) from drift_events where repaired_at is not null")
                .await?,
            dead_letters: one("select count(*) from dead_letters").await?,
            scans_done: one("select count(*) from bulk_runs where state = 'done'").await?,
        })
    }

    /// The sum of one number over all platforms.
    pub(super) fn of_platforms(&self, number: impl Fn(&Platform) -> u64) -> u64 {
        self.platforms.iter().map(number).sum()
    }

    pub(super) fn records(&self) -> i64 {
        self.mirrored.iter().map(|mirrored| mirrored.present).sum()
    }

    pub(super) fn changes_applied(&self) -> i64 {
        self.jobs.iter().map(|jobs| jobs.different).sum()
    }
}

async fn jobs(db: &PgPool) -> sqlx::Result<Vec<Jobs>> {
    let rows = sqlx::query(
        "select trigger, count(*) filter (where kind = 'record'),
                count(*) filter (where outcome in ('created', 'changed', 'deleted', 'restored')),
                count(*) filter (where kind = 'page')
           from sync_operations group by trigger
          order by array_position(array['webhook', 'manual', 'bulk', 'spot-check'], trigger)",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let (trigger, records) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Jobs { trigger, records, different: row.try_get(2)?, pages: row.try_get(3)? })
        })
        .collect()
}

async fn done(db: &PgPool) -> sqlx::Result<Vec<Done>> {
    let rows = sqlx::query(
        "select c.platform,
                count(*) filter (where o.kind = 'record' and o.trigger = 'webhook'),
                count(*) filter (where o.kind = 'record' and o.trigger = 'spot-check'),
                count(*) filter (where o.kind = 'page'),
                count(*) filter (
                    where o.outcome in ('created', 'changed', 'deleted', 'restored')),
                (select count(*) from drift_events d where d.connection_id = c.id),
                (select count(*) from drift_events d
                  where d.connection_id = c.id and d.repaired_at is not null)
           from connections c left join sync_operations o on o.connection_id = c.id
          group by c.id, c.platform order by c.platform",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Done {
                platform: row.try_get(0)?,
                webhook_looks: row.try_get(1)?,
                spot_checks: row.try_get(2)?,
                pages: row.try_get(3)?,
                changes: row.try_get(4)?,
                drift_found: row.try_get(5)?,
                drift_repaired: row.try_get(6)?,
            })
        })
        .collect()
}

async fn mirrored(db: &PgPool) -> sqlx::Result<Vec<Mirrored>> {
    let rows = sqlx::query(
        "select c.lane, r.record_type, count(*) filter (where r.flags & 1 = 0),
                count(*) filter (where r.flags & 1 <> 0)
           from external_integrations r join connections c on c.id = r.connection_id
          group by 1, 2 order by 1, 2",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let (lane, record_type) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Mirrored { lane, record_type, present: row.try_get(2)?, deleted: row.try_get(3)? })
        })
        .collect()
}
