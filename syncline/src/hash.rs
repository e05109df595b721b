//! `syncline hash`.

use std::io::{self, Read};

use anyhow::Context;
use clap::Args;
use common::drift::{MAX_BYTES, canonical_at, content_hash};
use common::platform::Platform;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::answer::Answer;
use crate::named;

/// Arguments of `hash`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The platform that the record is from.
    #[arg(long, value_parser = named::platform)]
    platform: &'static dyn Platform,
    /// Its kind.
    #[arg(long)]
    record_type: String,
    /// Answer as {"canonical": ..., "hash": ...}.
    #[arg(long)]
    json: bool,
}

/// An answer of one of the platforms that wrap their records.
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Hashes the record on standard input, as it is now: what held until a time that is past does not
/// count.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let kind = named::record_kind(arguments.platform, &arguments.record_type)?;
    // One byte more, so that what is too long is refused and not cut.
    let mut payload = String::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    io::stdin().take(limit).read_to_string(&mut payload).context("standard input")?;
    #[expect(clippy::disallowed_methods, reason = "it is the person's clock that is asked for")]
    let now = Timestamp::now();
    let form = |json: &str| canonical_at(json, kind.shape, now).context("standard input");
    let mut canonical = form(&payload)?;
    let mut note = None;
    if canonical.as_str() == "{}" {
        note = Some(format!(
            "nothing of this counts for a {}: pass the record itself, not what it came wrapped in",
            kind.name
        ));
        if let Ok(Wrapped { data }) = serde_json::from_str(&payload) {
            canonical = form(data.get())?;
            note = Some("the record is what was found in \"data\"".to_owned());
        }
    }
    let hash = content_hash(kind.name, kind.schema_version, &canonical);

    let answer = if arguments.json {
        Answer::json(&json!({ "canonical": canonical.as_str(), "hash": hash.to_string() }))
    } else {
        Answer::text(format!("hash       {hash}\ncanonical  {canonical}"))
    };
    Ok(match note {
        Some(note) => answer.note(note),
        None => answer,
    })
}
