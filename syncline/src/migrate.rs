//! `syncline migrate`.

use common::config::Config;
use common::store;

use crate::answer::Answer;
use crate::stores;

/// Brings the tables up to date; does nothing when they are.
pub(crate) async fn run(config: &Config) -> anyhow::Result<Answer> {
    let db = stores::postgres_itself(config).await?;
    store::migrate(&db).await?;
    let latest = store::MIGRATIONS.iter().map(|migration| migration.version).max();
    Ok(Answer::text(format!("the tables are up to date: version {}", latest.unwrap_or_default())))
}
