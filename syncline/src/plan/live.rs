//! The records of a what-if question, from the mirror.

use std::collections::BTreeMap;

use anyhow::ensure;
use common::config::Config;
use common::freshness::Evidence as _;
use common::freshness::grid::{GridPrior, RATES};
use common::ids::{Lane, RecordType};
use common::store::{habits, records};

use super::entries::Entry;
use crate::{named, stores};

/// Random records of each type that stand for all of it.
const SAMPLE: u32 = 2_000;
/// Rates are told apart in eighths of an octave. Whole ones are enough here: of finer parts a small
/// mirror would have less than a record each.
const EIGHTHS: usize = 8;

/// What is believed of the records of a connection: for each type and weight, how many change how
/// often.
pub(crate) async fn read(config: &Config, lane: &Lane) -> anyhow::Result<Vec<Entry>> {
    let platform = named::platform_of(lane)?;
    let db = stores::postgres(config).await?;
    let connection = named::connection(&db, lane).await?;
    let mut entries = Vec::new();
    for kind in platform.records().iter().filter(|kind| kind.mirrored) {
        let record_type = RecordType::from(kind.name);
        let known = habits::of(&db, connection.id, &record_type).await?;
        // Any start will do: the circle is one of hashes.
        let sampled = records::random(&db, connection.id, &record_type, 0, SAMPLE).await?;
        let mut counts: BTreeMap<(String, usize), f64> = BTreeMap::new();
        let mut seen = 0.0;
        for (evidence, weight, _) in &sampled.records {
            seen += 1.0;
            // Two digits of a weight are enough to tell records apart.
            let weight = format!("{weight:.1e}");
            let mut shares = [0.0; RATES];
            evidence.belief(&known.prior).add_to(&mut shares, &known.prior);
            for (index, share) in shares.into_iter().enumerate() {
                *counts.entry((weight.clone(), (index + EIGHTHS / 2) / EIGHTHS)).or_default() +=
                    share;
            }
        }
        let notices = known.notices();
        for ((weight, octave), count) in counts {
            let records = (count / f64::max(seen, 1.0) * sampled.population).round();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number of records"
            )]
            let count = records as u64;
            if count > 0 {
                entries.push(Entry {
                    rate_per_day: GridPrior::rates_per_day()
                        .nth(octave * EIGHTHS)
                        .unwrap_or_default(),
                    weight: weight.parse().unwrap_or(1.0),
                    recall: notices.recall(),
                    false_notices_per_day: notices.false_per_day(),
                    count,
                });
            }
        }
    }
    ensure!(!entries.is_empty(), "no record of {lane} is mirrored yet");
    Ok(entries)
}
