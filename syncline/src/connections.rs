//! `syncline connections`.

use anyhow::Context;
use clap::{Args, Subcommand};
use common::config::Config;
use common::ids::Lane;
use common::store::connections::{self, Connection};
use common::store::credentials::{self, Origin, Summary};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::table::{Column, draw};
use crate::{add, named, probe, repair, stores};

/// Subcommands of `connections`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every connection, and whether it works.
    List {
        /// Answer as a list of objects.
        #[arg(long)]
        json: bool,
    },
    /// Put a connection with its secrets into Postgres, sealed; or other secrets in their place.
    ///
    /// Secrets are read from files or from standard input, never from arguments.
    Add(add::Add),
    /// Forget the secrets of a connection that was added. Its records stay.
    Remove(add::Remove),
    /// Send one request for each connection and say whether it works; ends with 1 when one does
    /// not.
    Check(probe::Arguments),
    /// Look whether the platform still sends webhooks, switch them on again if it does not, and
    /// have read what was missed; ends with 1 when they are still not sent.
    Repair(repair::Arguments),
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
        Command::Add(arguments) => add::add(config, &arguments).await,
        Command::Remove(arguments) => add::remove(config, &arguments).await,
        Command::Check(arguments) => probe::run(config, &arguments).await,
        Command::Repair(arguments) => repair::run(config, &arguments).await,
        Command::Park(arguments) => park(config, &arguments).await,
        Command::Unpark { connection } => unpark(config, &connection).await,
    }
}

async fn list(config: &Config, as_json: bool) -> anyhow::Result<Answer> {
    let db = stores::postgres(config).await?;
    let all = connections::all(&db).await?;
    let stored = credentials::summaries(&db).await?;
    Ok(if as_json {
        let with_secrets = |connection| {
            let mut shown = to_json(connection);
            if let Some(shown) = shown.as_object_mut() {
                shown.insert(
                    "credentials".to_owned(),
                    source(config, &stored, connection).to_json(),
                );
            }
            shown
        };
        Answer::json(&all.iter().map(with_secrets).collect())
    } else {
        let columns = [
            Column::Text("Connection"),
            Column::Text("Account"),
            Column::Text("State"),
            Column::Text("Since"),
            Column::Text("Secrets"),
            Column::Text("Token ends"),
            Column::Text("Reason"),
        ];
        let row = |connection: &Connection| {
            let [lane, account, state, since, reason] = cells(connection);
            let source = source(config, &stored, connection);
            let ends = source.stored.and_then(|stored| stored.expires_at).map(instant);
            let refused = source.stored.and_then(|stored| stored.refused.clone());
            let reason = if reason.is_empty() { refused.unwrap_or_default() } else { reason };
            [lane, account, state, since, source.name.to_owned(), ends.unwrap_or_default(), reason]
        };
        Answer::text(draw(columns, all.iter().map(row), NONE))
    })
}

const NONE: &str = "there are no connections yet";

/// Where a connection's secrets come from.
struct Source<'a> {
    name: &'static str,
    stored: Option<&'a Summary>,
}

impl Source<'_> {
    fn to_json(&self) -> Value {
        json!({
            "source": self.name,
            "renewed": self.stored.is_some_and(|stored| stored.renewed),
            "expires_at": self.stored.and_then(|stored| stored.expires_at),
            "refreshed_at": self.stored.and_then(|stored| stored.refreshed_at),
            "refused": self.stored.and_then(|stored| stored.refused.as_ref()),
        })
    }
}

fn source<'a>(config: &Config, stored: &'a [Summary], connection: &Connection) -> Source<'a> {
    let of = |origin| stored.iter().find(|row| row.lane == connection.lane && row.origin == origin);
    if config.connections.contains_key(&connection.lane) {
        Source { name: "configuration", stored: of(Origin::Configured) }
    } else {
        let stored = of(Origin::Added);
        Source { name: if stored.is_some() { "added" } else { "none" }, stored }
    }
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
    draw(columns, all.iter().map(cells), NONE)
}

/// Name, account, state, since when, why.
fn cells(connection: &Connection) -> [String; 5] {
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
    credentials::forget_refusal(&db, connection.id).await?;
    let was_parked = connections::unpark(&db, connection.id).await?;
    queue.resume(lane).await.with_context(|| {
        format!("{lane} is not parked any more, but its lane is still held: run syncline resume --connection {lane}")
    })?;
    let words = if was_parked { "works again" } else { "was not parked; its lane is not held" };
    Ok(Answer::text(format!("{lane} {words}")))
}
