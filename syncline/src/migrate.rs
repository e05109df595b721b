//! `syncline migrate`.

use std::path::PathBuf;

use clap::Args;
use common::config::Config;
use common::store;

use crate::answer::Answer;
use crate::{roles, stores};

/// Arguments of `migrate`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Then make the roles with least rights too, and a user `fleet_<process>` for each process whose
    /// password is in this folder, in a file `<process>_password`. Needs a user who may create roles.
    #[arg(long, value_name = "FOLDER")]
    users: Option<PathBuf>,
}

/// Brings the tables up to date; does nothing when they are.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    // Before anything is changed.
    let passwords = arguments.users.as_deref().map(roles::passwords).transpose()?;
    let db = stores::postgres_itself(config).await?;
    store::migrate(&db).await?;
    let latest = store::MIGRATIONS.iter().map(|migration| migration.version).max();
    let migrated = format!("the tables are up to date: version {}", latest.unwrap_or_default());
    let Some(passwords) = passwords else { return Ok(Answer::text(migrated)) };
    let users = roles::make(&db, &passwords).await?;
    Ok(Answer::text(format!("{migrated}\nusers with the rights of their process: {users}")))
}
