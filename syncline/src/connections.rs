//! `syncline connections`.

use anyhow::Context;
use clap::{Args, Subcommand};
use common::config::Config;
use common::ids::Lane;
use common::store::connections::{self, Connection};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::table::{Column, draw};
use crate::{named, stores};

/// Subcommands of `connections`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every connection, and whether it works.
    List {
        /// Answer as a list of objects.
        #[arg(long)]
        json: bool,
    },
    /// Send nothing for a connection until `unpark`.
    Park(Park),
    /// Let a connection work again.
    Unpark {
        /// Its name: `platform/name`.
        connection: Lane,
    },
}

/// Arguments of `connections park`.
#[derive(Args)]
pub(crate) struct Park {
    /// Its name: `platform/name`.
    connection: Lane,
    /// Why, for those who look at it later.
    #[arg(long, default_value = "parked by an operator")]
    reason: String,
}

/// Runs one of them.
pub(crate) async fn run(config: &Config, command: Command) -> anyhow::Result<Answer> {
    match command {
        Command::List { json } => list(config, json).await,
        Command::Park(arguments) => park(config, &arguments).await,
        Command::Unpark { connection } => unpark(config, &connection).await,
    }
}

async fn list(config: &Config, as_json: bool) -> anyhow::Result<Answer> {
    let db = stores::postgres(config).await?;
    let all = connections::all(&db).await?;
    Ok(if as_json {
        Answer::json(&all.iter().map(to_json).collect())
    } else {
        Answer::text(to_table(&all))
    })
}

/// Connections for people.
pub(crate) fn to_table(all: &[Connection]) -> String {
    let columns = [
        Column::Text("Connection"),
        Column::Text("Account"),
        Column::Text("State"),
        Column::Text("Since"),
        Column::Text("Reason"),
    ];
    let row = |connection: &Connection| {
        let parked = connection.parked.as_ref();
        let state = match (parked, connection.opened_at) {
            (Some(_), _) => "parked",
            (None, Some(_)) => "works",
            (None, None) => "never worked",
        };
        [
            connection.lane.to_string(),
            connection.account.clone(),
            state.to_owned(),
            parked.map(|p| p.at).or(connection.opened_at).map_or(String::new(), instant),
            parked.map_or(String::new(), |p| p.reason.clone()),
        ]
    };
    draw(columns, all.iter().map(row), "there are no connections yet")
}

/// Connections for programs.
pub(crate) fn to_json(connection: &Connection) -> Value {
    json!({
        "connection": connection.lane,
        "platform": connection.platform,
        "account": connection.account,
        "parked": connection.parked.as_ref().map(|parked| json!({
            "reason": parked.reason,
            "since": parked.at,
        })),
        "opened_at": connection.opened_at,
    })
}

/// An instant to the second, in UTC.
pub(crate) fn instant(at: jiff::Timestamp) -> String {
    at.strftime("%F %TZ").to_string()
}

async fn park(config: &Config, arguments: &Park) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    // Both are reached before anything is done.
    let (db, queue) = (stores::postgres(config).await?, stores::redis(config).await?);
    let connection = named::connection(&db, lane).await?;
    let newly = connections::park(&db, connection.id, &arguments.reason).await?;
    queue.pause(lane).await.with_context(|| {
        format!("{lane} is parked, but its lane could not be held: run the same once more")
    })?;
    Ok(if newly {
        Answer::text(format!("{lane} is parked: nothing is sent for it"))
    } else {
        let reason = connection.parked.map_or(String::new(), |parked| parked.reason);
        Answer::text(format!("{lane} was parked already: {}", crate::table::plain(&reason)))
    })
}

async fn unpark(config: &Config, lane: &Lane) -> anyhow::Result<Answer> {
    let (db, queue) = (stores::postgres(config).await?, stores::redis(config).await?);
    let connection = named::connection(&db, lane).await?;
    let was_parked = connections::unpark(&db, connection.id).await?;
    queue.resume(lane).await.with_context(|| {
        format!("{lane} is not parked any more, but its lane is still held: run syncline resume --connection {lane}")
    })?;
    let words = if was_parked { "works again" } else { "was not parked; its lane is not held" };
    Ok(Answer::text(format!("{lane} {words}")))
}
