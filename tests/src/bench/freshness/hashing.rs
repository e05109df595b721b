//! How fast records are hashed.

use std::fmt::Write as _;
use std::hint::black_box;

use common::drift::{Shape, canonical, content_hash};
use tokio::time::Instant;

/// Bytes that are hashed for each figure.
const BYTES: usize = 200_000_000;

/// Megabytes a second on one core: of canonical forms that are hashed, and of JSON that is put into
/// its canonical form and then hashed.
pub(super) fn mb_per_s() -> Option<[(&'static str, f64); 2]> {
    let mut raw = String::from("{");
    for field in 0..60 {
        let comma = if field > 0 { "," } else { "" };
        write!(raw, r#"{comma}"field_{field}": {{"name": "a name of {field}", "n": {field}}}"#)
            .ok()?;
    }
    raw.push('}');
    let form = canonical(&raw, &Shape::Whole).ok()?;
    let per_s = |each: usize, whole: usize, f: &dyn Fn()| -> f64 {
        let rounds = whole / each;
        let began = Instant::now();
        for _ in 0..rounds {
            f();
        }
        let bytes = u32::try_from(rounds * each).map_or(f64::INFINITY, f64::from);
        bytes / 1e6 / began.elapsed().as_secs_f64()
    };
    let hashed = per_s(form.as_str().len(), BYTES, &|| {
        black_box(content_hash("profile", 1, black_box(&form)));
    });
    let formed = per_s(raw.len(), BYTES / 10, &|| {
        black_box(
            canonical(black_box(&raw), &Shape::Whole).map(|f| content_hash("profile", 1, &f)).ok(),
        );
    });
    Some([
        ("hashing a canonical form, one core", hashed),
        ("canonical form and hash of JSON, one core", formed),
    ])
}
