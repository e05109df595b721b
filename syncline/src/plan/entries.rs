//! The records of a what-if question, from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use common::freshness::{Alike, Habits, MAX_PER_DAY, MAX_WEIGHT};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;
/// Records that one entry may stand for.
const MOST_ALIKE: u64 = 1_000_000_000_000;

/// Records that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Changes of one record, D.
    pub(crate) rate_per_day: f64,
    /// What its freshness counts, w.
    #[serde(default = "one")]
    pub(crate) weight: f64,
    /// The share of changes that a webhook announces, q.
    #[serde(default)]
    pub(crate) recall: f64,
    /// Webhooks that no change led to, n.
    #[serde(default)]
    pub(crate) false_notices_per_day: f64,
    /// How many they are.
    #[serde(default = "just_one")]
    pub(crate) count: u64,
}

const fn one() -> f64 {
    1.0
}

const fn just_one() -> u64 {
    1
}

impl Entry {
    /// As the mathematics takes them. A recall of 1 leaves nothing to look for, exactly.
    pub(crate) fn alike(&self) -> Alike {
        let announced = self.recall * self.rate_per_day;
        let habits = Habits::new(
            self.rate_per_day - announced,
            announced + self.false_notices_per_day,
            self.weight,
        );
        #[expect(clippy::cast_precision_loss, reason = "at most 10^12")]
        let count = self.count as f64;
        Alike { habits, count }
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: f64, most: f64| {
            let told = || format!("{name} is {value}: must be 0 to {most}");
            (0.0..=most).contains(&value).then_some(()).ok_or_else(told)
        };
        within("rate_per_day", self.rate_per_day, MAX_PER_DAY)?;
        within("weight", self.weight, MAX_WEIGHT)?;
        within("recall", self.recall, 1.0)?;
        within("false_notices_per_day", self.false_notices_per_day, MAX_PER_DAY)?;
        if (1..=MOST_ALIKE).contains(&self.count) {
            return Ok(());
        }
        Err(format!("count is {}: must be 1 to {MOST_ALIKE}", self.count))
    }
}

/// Reads them; an error names the entry, counted from 1.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let is_standard_input = path.as_os_str() == "-";
    let name =
        if is_standard_input { "standard input".to_owned() } else { path.display().to_string() };
    let mut text = String::new();
    let reading = if is_standard_input {
        io::stdin().take(LONGEST + 1).read_to_string(&mut text)
    } else {
        let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
        file.take(LONGEST + 1).read_to_string(&mut text)
    };
    reading.with_context(|| format!("{name} cannot be read"))?;
    ensure!(text.len() as u64 <= LONGEST, "{name} is longer than {LONGEST} bytes");
    parse(&text).with_context(|| name)
}

fn parse(text: &str) -> anyhow::Result<Vec<Entry>> {
    let raw: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| anyhow!("no array of records: {error}"))?;
    if raw.is_empty() {
        bail!("the array is empty: give at least one {{\"rate_per_day\": 3.2}}");
    }
    let of = raw.len();
    let entry = |(n, raw): (usize, &&RawValue)| {
        let number = n + 1;
        let entry: Entry = serde_json::from_str(raw.get()).map_err(|error| {
            // Line and column would be those inside the entry.
            let told = error.to_string();
            let what = told.split(" at line ").next().unwrap_or_default();
            let what = what.replace("expected f64", "expected a number");
            let what = what.replace("expected u64", "expected a whole number");
            anyhow!("entry {number} of {of}: {what}")
        })?;
        entry.check().map_err(|what| anyhow!("entry {number} of {of}: {what}"))?;
        Ok(entry)
    };
    let entries = raw.iter().enumerate().map(entry).collect::<anyhow::Result<Vec<Entry>>>()?;
    ensure!(
        entries.iter().any(|entry| entry.weight > 0.0),
        "every weight is 0, so nothing counts: give at least one record a weight"
    );
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_rate_may_be_left_out() {
        let read =
            parse(r#"[{"rate_per_day": 3.2}, {"count": 5000, "rate_per_day": 1, "recall": 0.9}]"#);
        let read = read.unwrap();
        assert_eq!(read[0].alike(), Alike { habits: Habits::new(3.2, 0.0, 1.0), count: 1.0 });
        assert_eq!(read[1].count, 5000);
        assert!((read[1].alike().habits.resets_per_day() - 0.9).abs() < 1e-12);
    }

    #[test]
    fn what_is_wrong_names_its_entry() {
        let first = r#"{"rate_per_day": 1}"#;
        for (second, told) in [
            (r#"{"weight": 1}"#, "entry 2 of 2: missing field `rate_per_day`"),
            (r#"{"rate_per_day": -1}"#, "entry 2 of 2: rate_per_day is -1: must be 0 to 1000000"),
            (r#"{"rate_per_day": "x"}"#, "entry 2 of 2: invalid type"),
            (r#"{"rate_per_day": 1e999}"#, "entry 2 of 2: number out of range"),
            (r#"{"rate_per_day": 1, "recall": 90}"#, "entry 2 of 2: recall is 90: must be 0 to 1"),
            (r#"{"rate_per_day": 1, "count": 0}"#, "entry 2 of 2: count is 0"),
            (r#"{"rate_per_day": 1, "wieght": 2}"#, "entry 2 of 2: unknown field `wieght`"),
            ("7", "entry 2 of 2: invalid type"),
        ] {
            let error = parse(&format!("[{first}, {second}]")).unwrap_err().to_string();
            assert!(error.starts_with(told), "{second}: {error}");
        }
        for (number, told) in [("null", "a number"), ("{}", "a number"), ("\"x\"", "a number")] {
            let entry = format!(r#"[{{"rate_per_day": {number}}}]"#);
            let error = parse(&entry).unwrap_err().to_string();
            assert!(error.ends_with(&format!("expected {told}")), "{error}");
        }
        for count in ["1.5", "1e30", "-1"] {
            let entry = format!(r#"[{{"rate_per_day": 1, "count": {count}}}]"#);
            let error = parse(&entry).unwrap_err().to_string();
            assert!(error.ends_with("expected a whole number"), "{error}");
        }
        let weightless = r#"[{"rate_per_day": 1, "weight": 0}, {"rate_per_day": 2, "weight": 0}]"#;
        let error = parse(weightless).unwrap_err().to_string();
        assert!(error.starts_with("every weight is 0"), "{error}");
        for none in ["", "{}", "[", "[]"] {
            assert!(parse(none).is_err(), "{none} was accepted");
        }
    }
}
