//! `syncline exclude-field`.

use anyhow::ensure;
use clap::Args;
use common::config::Config;
use common::drift::{Excluded, MAX_EXCLUDED};
use common::ids::Lane;
use common::store::excluded_fields;

use crate::answer::Answer;
use crate::{named, stores};

/// Arguments of `exclude-field`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Whose records: `platform/name`.
    connection: Lane,
    /// Their kind.
    record_type: String,
    /// The field as a JSON Pointer, as `syncline drift` shows it: `/attributes/last_seen`; a step
    /// `*` stands for any.
    pointer: String,
    /// Let it count again.
    #[arg(long)]
    undo: bool,
}

/// Writes it down; the next look at each record goes by it.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let Arguments { connection: lane, record_type, pointer, undo } = arguments;
    Excluded::new([pointer.clone()])?;
    let kind = named::record_kind(named::platform_of(lane)?, record_type)?;
    let db = stores::postgres(config).await?;
    let connection = named::connection(&db, lane).await?;
    let record_type = kind.name.into();
    if *undo {
        let was = excluded_fields::include(&db, connection.id, &record_type, pointer).await?;
        ensure!(was, "{pointer} of {record_type} on {lane} is not excluded");
        return Ok(Answer::text(format!("{pointer} of {record_type} on {lane} counts again")));
    }
    let excluded = excluded_fields::of(&db, connection.id, &record_type).await?;
    ensure!(
        excluded.pointers().len() < MAX_EXCLUDED,
        "{MAX_EXCLUDED} fields of {record_type} on {lane} are excluded already: take one back first"
    );
    let new = excluded_fields::exclude(&db, connection.id, &record_type, pointer).await?;
    let answer = Answer::text(format!("{pointer} of {record_type} on {lane} does not count"));
    Ok(if new { answer } else { answer.note("it did not count before either") })
}
