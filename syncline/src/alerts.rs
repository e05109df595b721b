//! `syncline alerts`.

use clap::Args;
use common::config::Config;
use common::ids::Lane;
use common::store::alerts::{self, Alert};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::connections::instant;
use crate::stores;
use crate::table::{Column, draw};

/// Arguments of `alerts`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Also those that are over, the latest first.
    #[arg(long)]
    all: bool,
    /// The most that are listed.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Answer as a list of objects.
    #[arg(long)]
    json: bool,
}

/// Lists what a person should act on.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let db = stores::postgres(config).await?;
    let listed = if arguments.all {
        alerts::recent(&db, arguments.limit).await?
    } else {
        alerts::open(&db, arguments.limit).await?
    };
    Ok(if arguments.json {
        Answer::json(&listed.iter().map(to_json).collect())
    } else {
        Answer::text(to_table(&listed))
    })
}

fn to_table(listed: &[Alert]) -> String {
    let columns = [
        Column::Text("Of"),
        Column::Text("Kind"),
        Column::Text("What"),
        Column::Text("Since"),
        Column::Text("Last seen"),
        Column::Number("Times"),
        Column::Text("Over"),
    ];
    let row = |alert: &Alert| {
        let kind = match alert.subject.as_str() {
            "" => alert.kind.clone(),
            subject => format!("{} {subject}", alert.kind),
        };
        [
            alert.lane.as_ref().map_or_else(|| "the fleet".to_owned(), Lane::to_string),
            kind,
            alert.message.clone(),
            instant(alert.raised_at),
            instant(alert.last_at),
            alert.count.to_string(),
            alert.cleared_at.map_or(String::new(), instant),
        ]
    };
    draw(columns, listed.iter().map(row), "there are none")
}

fn to_json(alert: &Alert) -> Value {
    json!({
        "id": alert.id,
        "connection": alert.lane,
        "kind": alert.kind,
        "subject": alert.subject,
        "message": alert.message,
        "detail": alert.detail,
        "raised_at": alert.raised_at,
        "last_at": alert.last_at,
        "count": alert.count,
        "cleared_at": alert.cleared_at,
    })
}
