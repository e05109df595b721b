//! `syncline status`.

use std::time::Duration;

use clap::Args;
use common::config::Config;
use common::fleet;
use common::store;
use common::store::bulk_runs::{self, BulkRun, RunAudit, State};
use common::store::connections::{self, Connection};
use common::store::flipping_fields::{self, FlippingField};
use common::store::leadership::{self, Leadership};
use common::store::overview::{self, Backlog, OperationCount, Overview, RecordCounts};
use common::store::quality::{self, Quality};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::connections::{instant, to_json as connection_to_json, to_table as connections_table};
use crate::drift::{flipping_table, flipping_to_json, quality_table, quality_to_json};
use crate::stores;
use crate::table::{Column, draw};

/// Of operations and drift.
const PERIOD: Duration = Duration::from_hours(1);
/// Of random samples.
const QUALITY_HOURS: u16 = 24;
/// The latest bulk runs that are shown.
const LATEST_RUNS: u32 = 10;

/// Arguments of `status`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Answer as one object.
    #[arg(long)]
    json: bool,
}

/// Counts what Postgres has; `depths` counts what waits in Redis.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let db = stores::postgres(config).await?;
    let connections = connections::all(&db).await?;
    let overview = overview::overview(&db, PERIOD).await?;
    let runs = bulk_runs::latest(&db, LATEST_RUNS).await?;
    let leadership = leadership::current(&db).await?;
    let quality = quality::latest(&db, QUALITY_HOURS).await?;
    let flipping = flipping_fields::all(&db, LATEST_RUNS).await?;
    let now = store::now(&db).await?;
    let limits = fleet::configured_limits(config);
    let ends_at =
        |run: &BulkRun| run.ends_at(now, fleet::page_pace(&limits, &run.lane, &run.record_type));
    Ok(if arguments.json {
        Answer::json(&to_json(
            &connections,
            &overview,
            &runs,
            &quality,
            &flipping,
            leadership.as_ref(),
            ends_at,
        ))
    } else {
        let sections = [
            ("Connections", connections_table(&connections)),
            ("Records", records(&overview.records)),
            ("Operations of the last hour", operations(&overview.operations)),
            ("Backlog, and drift of the last hour", backlog(&overview.backlog)),
            ("Drift by random samples, last day", quality_table(&quality)),
            ("Fields that change back and forth", flipping_table(&flipping)),
            ("Bulk runs", bulk_runs_table(&runs, ends_at)),
            ("Scheduler", scheduler(leadership.as_ref())),
        ];
        let section = |(title, table): (&str, String)| format!("{title}\n\n{table}");
        Answer::text(sections.map(section).join("\n\n"))
    })
}

fn records(counts: &[RecordCounts]) -> String {
    let columns = [
        Column::Text("Connection"),
        Column::Text("Record type"),
        Column::Number("Present"),
        Column::Number("Suspected"),
        Column::Number("Deleted"),
        Column::Text("Oldest verified"),
    ];
    let row = |count: &RecordCounts| {
        [
            count.lane.to_string(),
            count.record_type.to_string(),
            count.present.to_string(),
            count.suspected.to_string(),
            count.deleted.to_string(),
            count.oldest_verified_at.map_or(String::new(), instant),
        ]
    };
    draw(columns, counts.iter().map(row), "no record is mirrored yet")
}

fn operations(counts: &[OperationCount]) -> String {
    let columns = [
        Column::Text("Connection"),
        Column::Text("Asked by"),
        Column::Text("Outcome"),
        Column::Number("Count"),
    ];
    let row = |count: &OperationCount| {
        [
            count.lane.to_string(),
            count.trigger.to_string(),
            count.outcome.to_string(),
            count.count.to_string(),
        ]
    };
    draw(columns, counts.iter().map(row), "there were none")
}

fn backlog(backlog: &[Backlog]) -> String {
    let columns = [
        Column::Text("Connection"),
        Column::Number("Open notices"),
        Column::Number("Dead letters"),
        Column::Number("Drift found"),
        Column::Number("Drift repaired"),
    ];
    let row = |waiting: &Backlog| {
        [
            waiting.lane.to_string(),
            waiting.open_notices.to_string(),
            waiting.dead_letters.to_string(),
            waiting.drift_found.to_string(),
            waiting.drift_repaired.to_string(),
        ]
    };
    draw(columns, backlog.iter().map(row), "there are no connections yet")
}

/// - `ends_at`: when a run will probably end.
fn bulk_runs_table(runs: &[BulkRun], ends_at: impl Fn(&BulkRun) -> Option<Timestamp>) -> String {
    let columns = [
        Column::Number("Run"),
        Column::Text("Connection"),
        Column::Text("Record type"),
        Column::Text("Reads"),
        Column::Text("State"),
        Column::Number("Pages"),
        Column::Number("Records"),
        Column::Number("Changed"),
        Column::Text("Started"),
        Column::Text("Ends about"),
        Column::Text("Confidence"),
        Column::Text("Reason"),
    ];
    let row = |run: &BulkRun| {
        [
            run.id.to_string(),
            run.lane.to_string(),
            run.record_type.to_string(),
            run.mode.to_string(),
            run.state.to_string(),
            run.expected_pages.filter(|_| run.state == State::Running).map_or_else(
                || run.pages.to_string(),
                |expected| format!("{} of about {expected}", run.pages),
            ),
            run.records_seen.to_string(),
            run.records_changed.to_string(),
            instant(run.started_at),
            ends_at(run).map_or_else(String::new, instant),
            run.audit.map_or_else(String::new, confidence),
            run.reason.clone().unwrap_or_default(),
        ]
    };
    draw(columns, runs.iter().map(row), "there were none")
}

fn scheduler(leadership: Option<&Leadership>) -> String {
    match leadership {
        None => "none has run yet".to_owned(),
        Some(Leadership { term, leader, began_at, leads: true, .. }) => {
            format!("{leader} leads since {}, term {term}", instant(*began_at))
        }
        Some(Leadership { term, leader, trusted_until, .. }) => {
            format!("nobody leads; {leader} did until {}, term {term}", instant(*trusted_until))
        }
    }
}

/// `97.0 % by 100 samples`: so much is right, at least.
fn confidence(audit: RunAudit) -> String {
    format!("{:.1} % by {} samples", 100.0 * audit.confidence, audit.samples)
}

fn to_json(
    connections: &[Connection],
    overview: &Overview,
    runs: &[BulkRun],
    quality: &[Quality],
    flipping: &[FlippingField],
    leadership: Option<&Leadership>,
    ends_at: impl Fn(&BulkRun) -> Option<Timestamp>,
) -> Value {
    let records = overview.records.iter().map(|count| {
        json!({
            "connection": count.lane,
            "record_type": count.record_type,
            "present": count.present,
            "suspected": count.suspected,
            "deleted": count.deleted,
            "oldest_verified_at": count.oldest_verified_at,
        })
    });
    let operations = overview.operations.iter().map(|count| {
        json!({
            "connection": count.lane,
            "trigger": count.trigger.as_str(),
            "outcome": count.outcome.as_str(),
            "count": count.count,
        })
    });
    let backlog = overview.backlog.iter().map(|waiting| {
        json!({
            "connection": waiting.lane,
            "open_notices": waiting.open_notices,
            "dead_letters": waiting.dead_letters,
            "drift_found": waiting.drift_found,
            "drift_repaired": waiting.drift_repaired,
        })
    });
    let runs = runs.iter().map(|run| {
        json!({
            "id": run.id.0,
            "connection": run.lane,
            "record_type": run.record_type,
            "mode": run.mode.as_str(),
            "state": run.state.as_str(),
            "pages": run.pages,
            "records_seen": run.records_seen,
            "records_changed": run.records_changed,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "reason": run.reason,
            "expected_pages": run.expected_pages,
            "ends_at": ends_at(run),
            "confidence": run.audit.map(|audit| audit.confidence),
            "audit_samples": run.audit.map(|audit| audit.samples),
            "audit_wrong": run.audit.map(|audit| audit.wrong),
            "audit_set_aside": run.audit.map(|audit| audit.set_aside),
        })
    });
    json!({
        "connections": connections.iter().map(connection_to_json).collect::<Value>(),
        "records": records.collect::<Value>(),
        "operations_last_hour": operations.collect::<Value>(),
        "backlog": backlog.collect::<Value>(),
        "quality_last_day": quality.iter().map(quality_to_json).collect::<Value>(),
        "flipping_fields": flipping.iter().map(flipping_to_json).collect::<Value>(),
        "bulk_runs": runs.collect::<Value>(),
        "scheduler": leadership.map(|leadership| json!({
            "leader": leadership.leader,
            "leads": leadership.leads,
            "term": leadership.term,
            "began_at": leadership.began_at,
            "trusted_until": leadership.trusted_until,
        })),
    })
}
