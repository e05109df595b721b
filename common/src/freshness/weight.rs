//! What a day of a record's freshness is worth, from one of its fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::special::non_negative;
use super::value::MAX_WEIGHT;

/// Reads a weight from a record.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WeightRule {
    /// Where: a JSON Pointer (RFC 6901) into the record as it came, `/attributes/patron_status`.
    pub field: String,
    /// What each value there weighs; texts, or numbers and true and false as they are written.
    /// Without any, the field holds a number, which is the weight.
    #[serde(default)]
    pub values: BTreeMap<String, f64>,
    /// What all others weigh.
    #[serde(default = "one")]
    pub otherwise: f64,
}

const fn one() -> f64 {
    1.0
}

impl WeightRule {
    /// What this record weighs; within 0 and [`MAX_WEIGHT`], whatever it holds.
    ///
    /// - `json`: the record as it came.
    pub fn weight(&self, json: &str) -> f64 {
        let found = serde_json::from_str::<Value>(json).ok();
        let found = found.as_ref().and_then(|record| record.pointer(&self.field));
        let weight = match found {
            Some(Value::Number(number)) if self.values.is_empty() => number.as_f64(),
            Some(Value::String(text)) => self.values.get(text).copied(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                self.values.get(&value.to_string()).copied()
            }
            _ => None,
        };
        non_negative(weight.unwrap_or(self.otherwise), MAX_WEIGHT)
    }

    /// What is wrong with it, and the remedy.
    ///
    /// # Errors
    ///
    /// When it is no pointer, or a weight is no weight.
    pub fn check(&self) -> Result<(), &'static str> {
        let fits = |weight: &f64| (0.0..=MAX_WEIGHT).contains(weight);
        if !self.field.starts_with('/') {
            return Err("field is no JSON Pointer: write /attributes/patron_status");
        }
        if !fits(&self.otherwise) || !self.values.values().all(fits) {
            return Err("a weight must be 0 to 1e9");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_what_a_field_says() {
        let rule = |values: &[(&str, f64)]| WeightRule {
            field: "/a/status".to_owned(),
            values: values.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect(),
            otherwise: 2.0,
        };
        let named = rule(&[("paying", 10.0), ("true", 5.0), ("3", 4.0)]);
        for (json, weight) in [
            (r#"{"a":{"status":"paying"}}"#, 10.0),
            (r#"{"a":{"status":"other"}}"#, 2.0),
            (r#"{"a":{"status":true}}"#, 5.0),
            (r#"{"a":{"status":3}}"#, 4.0),
            (r#"{"a":{"status":null}}"#, 2.0),
            ("{}", 2.0),
            ("no json", 2.0),
        ] {
            assert!((named.weight(json) - weight).abs() < 1e-12, "{json}");
        }
        let numeric = rule(&[]);
        for (json, weight) in [
            (r#"{"a":{"status":7.5}}"#, 7.5),
            (r#"{"a":{"status":-7}}"#, 0.0),
            (r#"{"a":{"status":1e300}}"#, MAX_WEIGHT),
            (r#"{"a":{"status":"7"}}"#, 2.0),
        ] {
            assert!((numeric.weight(json) - weight).abs() < 1e-12, "{json}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let rule = WeightRule { field: "/a".to_owned(), values: BTreeMap::new(), otherwise: 1.0 };
        assert_eq!(rule.check(), Ok(()));
        assert!(WeightRule { field: "a".to_owned(), ..rule.clone() }.check().is_err());
        assert!(WeightRule { otherwise: -1.0, ..rule }.check().is_err());
    }
}
