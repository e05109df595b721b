//! `syncline hash`.

use std::io::{self, Read};

use anyhow::Context;
use clap::Args;
use common::drift::{MAX_BYTES, canonical, content_hash};
use common::platform::Platform;
use serde_json::json;

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

/// Hashes the record on standard input.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let kind = named::record_kind(arguments.platform, &arguments.record_type)?;
    // One byte more, so that what is too long is refused and not cut.
    let mut payload = String::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    io::stdin().take(limit).read_to_string(&mut payload).context("standard input")?;
    let canonical = canonical(&payload, kind.shape).context("standard input")?;
    let hash = content_hash(kind.name, kind.schema_version, &canonical);

    let answer = if arguments.json {
        Answer::json(&json!({ "canonical": canonical.as_str(), "hash": hash.to_string() }))
    } else {
        Answer::text(format!("hash       {hash}\ncanonical  {canonical}"))
    };
    if canonical.as_str() == "{}" {
        let name = kind.name;
        return Ok(answer.note(format!(
            "nothing of this counts for a {name}: pass the record itself, not what it came wrapped in"
        )));
    }
    Ok(answer)
}
