//! `syncline rotate-key` and `new-key`.

use anyhow::anyhow;
use clap::Args;
use common::config::Config;
use common::credentials::{self, Keyring, Place};
use common::store::credentials::{RowKey, Sealed, SealedRow, reseal, sealed_rows};
use secrecy::ExposeSecret;

use crate::answer::Answer;
use crate::stores;

/// Rows that one transaction locks.
const BATCH: i64 = 100;
/// Some values could not be opened.
const INCOMPLETE: u8 = 1;

/// Arguments of `rotate-key`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Makes a key.
pub(crate) fn new_key() -> anyhow::Result<Answer> {
    let key = credentials::new_key()?;
    Ok(Answer::text(key.expose_secret())
        .note("keep it in a file that only the fleet can read: without it nothing that is sealed under it can be opened"))
}

/// Seals everything under the first key. What is there already stays: it may be run again at any
/// time, and broken off at any point.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let keys = config
        .credentials
        .keys()?
        .ok_or_else(|| anyhow!("credentials.key_file is not set: nothing can be opened"))?;
    let db = stores::postgres(config).await?;
    let (mut resealed, mut good, mut problems) = (0, 0, Vec::new());
    let mut after: Option<RowKey> = None;
    loop {
        let mut tx = db.begin().await?;
        let rows = sealed_rows(&mut *tx, after, BATCH).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.key);
        for mut row in rows {
            let changed = anew(&keys, &mut row, &mut good, &mut problems)?;
            if changed > 0 && !arguments.dry_run {
                reseal(&mut *tx, &row).await?;
            }
            resealed += changed;
        }
        tx.commit().await?;
    }
    let did = if arguments.dry_run { "would be sealed anew" } else { "sealed anew" };
    let text = format!("{resealed} {did} under the key {}, {good} were already", keys.first());
    if problems.is_empty() {
        return Ok(Answer::text(text));
    }
    let mut answer = Answer::text(text).ends_with(INCOMPLETE);
    for problem in problems {
        answer = answer.note(problem);
    }
    Ok(answer.note("what could not be opened was left as it is"))
}

/// Seals the old values of a row anew; how many.
fn anew(
    keys: &Keyring,
    row: &mut SealedRow,
    good: &mut u64,
    problems: &mut Vec<String>,
) -> anyhow::Result<u64> {
    let (lane, origin) = (row.lane.clone(), row.key.origin);
    let mut changed = 0;
    for (what, value) in [
        ("webhook_secret", &mut row.webhook_secret),
        ("notice_secret", &mut row.notice_secret),
        ("token", &mut row.token),
        ("refresh_token", &mut row.refresh_token),
        ("client_secret", &mut row.client_secret),
    ] {
        let Some(sealed) = value else { continue };
        let place = Place { lane: &lane, row: origin.as_str(), what };
        match keys.open(place, &sealed.0) {
            Err(error) => problems.push(format!("{what} of {lane} ({origin}): {error}")),
            Ok(_) if !keys.is_old(&sealed.0) => *good += 1,
            Ok(secret) => {
                *value = Some(Sealed(keys.seal(place, &secret)?));
                changed += 1;
            }
        }
    }
    Ok(changed)
}
