//! `syncline depths`.

use std::time::Duration;

use clap::Args;
use common::config::Config;
use common::ids::Lane;
use common::queue::Depths;
use common::store::connections;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::table::{Column, draw};
use crate::{named, stores};

/// Arguments of `depths`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only this one: `platform/name`.
    #[arg(long)]
    connection: Option<Lane>,
    /// Answer as a list of objects.
    #[arg(long)]
    json: bool,
}

/// Counts what waits.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let (db, queue) = (stores::postgres(config).await?, stores::redis(config).await?);
    let all = match &arguments.connection {
        Some(lane) => vec![named::connection(&db, lane).await?],
        None => connections::all(&db).await?,
    };
    let lanes: Vec<Lane> = all.into_iter().map(|connection| connection.lane).collect();
    let counted = queue.depths_of(&lanes).await?;
    let depths: Vec<(Lane, Depths)> = lanes.into_iter().zip(counted).collect();
    Ok(if arguments.json {
        Answer::json(&depths.iter().map(to_json).collect())
    } else {
        Answer::text(to_table(&depths))
    })
}

fn to_table(depths: &[(Lane, Depths)]) -> String {
    let columns = [
        Column::Text("Connection"),
        Column::Number("webhook"),
        Column::Number("manual"),
        Column::Number("bulk"),
        Column::Number("spot-check"),
        Column::Number("delayed"),
        Column::Number("in work"),
        Column::Number("oldest"),
        Column::Text("Held"),
    ];
    let row = |(lane, depths): &(Lane, Depths)| {
        let [webhook, manual, bulk, spot_check] = depths.ready.map(|ready| ready.to_string());
        [
            lane.to_string(),
            webhook,
            manual,
            bulk,
            spot_check,
            depths.delayed.to_string(),
            depths.leased.to_string(),
            seconds(depths.oldest),
            held(depths),
        ]
    };
    draw(columns, depths.iter().map(row), "there are no connections yet")
}

fn to_json((lane, depths): &(Lane, Depths)) -> Value {
    let [webhook, manual, bulk, spot_check] = depths.ready;
    json!({
        "connection": lane,
        "ready": { "webhook": webhook, "manual": manual, "bulk": bulk, "spot-check": spot_check },
        "delayed": depths.delayed,
        "leased": depths.leased,
        "oldest_seconds": depths.oldest.as_secs_f64(),
        "frozen_seconds": depths.frozen.as_secs_f64(),
        "paused": depths.paused,
        "ledger_closed": depths.closed,
    })
}

/// Everything that keeps a lane from sending.
fn held(depths: &Depths) -> String {
    let mut held = Vec::new();
    if depths.paused {
        held.push("paused".to_owned());
    }
    if !depths.frozen.is_zero() {
        held.push(format!("frozen for {}", seconds(depths.frozen)));
    }
    if depths.closed {
        held.push("ledger closed".to_owned());
    }
    held.join(", ")
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_millis().div_ceil(1000);
    format!("{:#}", SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}
