//! `syncline drift`: how wrong the mirror is, and what does not settle.

use clap::Args;
use common::config::Config;
use common::store::drift_events::{self, DriftEvent};
use common::store::excluded_fields::{self, ExcludedField};
use common::store::flipping_fields::{self, FlippingField};
use common::store::quality::{self, Quality};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::connections::instant;
use crate::stores;
use crate::table::{Column, draw};

/// Hours of audits that are shown.
const HOURS: u16 = 24;
/// Fields that are shown.
const MOST_FIELDS: u32 = 100;

/// Arguments of `drift`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Differences that are shown, the latest.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    limit: u32,
    /// Answer as one object.
    #[arg(long)]
    json: bool,
}

/// Reads what audits and looks have found.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let db = stores::postgres(config).await?;
    let quality = quality::latest(&db, HOURS).await?;
    let flipping = flipping_fields::all(&db, MOST_FIELDS).await?;
    let excluded = excluded_fields::all(&db).await?;
    let latest = drift_events::latest(&db, arguments.limit).await?;
    Ok(if arguments.json {
        Answer::json(&json!({
            "quality_last_day": quality.iter().map(quality_to_json).collect::<Value>(),
            "flipping_fields": flipping.iter().map(flipping_to_json).collect::<Value>(),
            "excluded_fields": excluded.iter().map(excluded_to_json).collect::<Value>(),
            "latest": latest.iter().map(event_to_json).collect::<Value>(),
        }))
    } else {
        let sections = [
            ("Random samples of the last day", quality_table(&quality)),
            ("Fields that change back and forth", flipping_table(&flipping)),
            ("Fields that do not count", excluded_table(&excluded)),
            ("Latest drift", events_table(&latest)),
        ];
        let section = |(title, table): (&str, String)| format!("{title}\n\n{table}");
        Answer::text(sections.map(section).join("\n\n"))
    })
}

/// A share as people read it.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// What audits say, as a table; `status` shows it too.
pub(crate) fn quality_table(quality: &[Quality]) -> String {
    let columns = [
        Column::Text("Connection"),
        Column::Text("Record type"),
        Column::Number("Drift"),
        Column::Number("at least"),
        Column::Number("at most"),
        Column::Number("Samples"),
        Column::Number("Wrong"),
        Column::Number("Set aside"),
    ];
    let row = |quality: &Quality| {
        [
            quality.lane.to_string(),
            quality.record_type.to_string(),
            quality.outcomes.share().map_or_else(String::new, percent),
            percent(quality.interval.lower),
            percent(quality.interval.upper),
            quality.outcomes.samples.to_string(),
            quality.outcomes.wrong.to_string(),
            quality.set_aside.to_string(),
        ]
    };
    draw(columns, quality.iter().map(row), "nothing was sampled")
}

/// The same for programs.
pub(crate) fn quality_to_json(quality: &Quality) -> Value {
    let share = quality.outcomes.share();
    json!({
        "connection": quality.lane,
        "record_type": quality.record_type,
        "samples": quality.outcomes.samples,
        "wrong": quality.outcomes.wrong,
        "set_aside": quality.set_aside,
        "drift_rate": share,
        "drift_rate_at_least": quality.interval.lower,
        "drift_rate_at_most": quality.interval.upper,
        "fresh_share": share.map(|share| 1.0 - share),
    })
}

/// Fields that do not settle, as a table.
pub(crate) fn flipping_table(fields: &[FlippingField]) -> String {
    let columns = [
        Column::Text("Connection"),
        Column::Text("Record type"),
        Column::Text("Field"),
        Column::Number("Records"),
        Column::Number("Times"),
        Column::Text("For example"),
        Column::Text("Since"),
    ];
    let row = |field: &FlippingField| {
        [
            field.lane.to_string(),
            field.record_type.to_string(),
            field.pointer.clone(),
            field.records.to_string(),
            field.flips.to_string(),
            field.external_id.to_string(),
            instant(field.first_seen_at),
        ]
    };
    draw(columns, fields.iter().map(row), "there are none")
}

/// The same for programs.
pub(crate) fn flipping_to_json(field: &FlippingField) -> Value {
    json!({
        "connection": field.lane,
        "record_type": field.record_type,
        "pointer": field.pointer,
        "records": field.records,
        "flips": field.flips,
        "external_id": field.external_id,
        "first_seen_at": field.first_seen_at,
    })
}

fn excluded_table(fields: &[ExcludedField]) -> String {
    let columns = [
        Column::Text("Connection"),
        Column::Text("Record type"),
        Column::Text("Field"),
        Column::Text("Since"),
    ];
    let row = |field: &ExcludedField| {
        [
            field.lane.to_string(),
            field.record_type.to_string(),
            field.pointer.clone(),
            instant(field.since),
        ]
    };
    draw(columns, fields.iter().map(row), "there are none")
}

fn excluded_to_json(field: &ExcludedField) -> Value {
    json!({
        "connection": field.lane,
        "record_type": field.record_type,
        "pointer": field.pointer,
        "since": field.since,
    })
}

fn events_table(events: &[DriftEvent]) -> String {
    let columns = [
        Column::Text("Found"),
        Column::Text("Connection"),
        Column::Text("Record"),
        Column::Text("Was"),
        Column::Text("Found by"),
        Column::Text("Repaired"),
    ];
    let row = |event: &DriftEvent| {
        [
            instant(event.found_at),
            event.lane.to_string(),
            format!("{}:{}", event.record_type, event.external_id),
            event.kind.to_string(),
            event.found_by.to_string(),
            event.repaired_at.map_or_else(String::new, instant),
        ]
    };
    draw(columns, events.iter().map(row), "there was none")
}

fn event_to_json(event: &DriftEvent) -> Value {
    json!({
        "id": event.id,
        "connection": event.lane,
        "record_type": event.record_type,
        "external_id": event.external_id,
        "kind": event.kind.as_str(),
        "found_at": event.found_at,
        "found_by": event.found_by.as_str(),
        "repaired_at": event.repaired_at,
    })
}
