//! What is said of a plan.

use common::freshness::{Alike, Optimum, fresh_share_at_random};
use serde_json::{Value, json};

use super::entries::Entry;
use crate::table::{Column, draw};

/// Entries that are shown to a person; JSON has them all.
const MOST_SHOWN: usize = 50;
/// Halvings in the search for what uniform sampling would need.
const STEPS: usize = 200;

/// A plan and what is to be compared with it.
pub(crate) struct Report<'a> {
    entries: &'a [Entry],
    population: &'a [Alike],
    found: Optimum,
    /// Of one record of each entry.
    looks_per_day: Vec<f64>,
    budget_per_day: f64,
    uniform_fresh_share: f64,
    target: Option<Target>,
}

struct Target {
    share: f64,
    /// What uniform sampling would need; `None` when nothing is enough.
    uniform_per_day: Option<f64>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        entries: &'a [Entry],
        population: &'a [Alike],
        found: Optimum,
        looks_per_day: Vec<f64>,
        budget_per_day: f64,
        target: Option<f64>,
    ) -> Self {
        let target = target
            .map(|share| Target { share, uniform_per_day: uniform_budget(population, share) });
        let uniform_fresh_share = fresh_share_at_random(population, budget_per_day);
        Self {
            entries,
            population,
            found,
            looks_per_day,
            budget_per_day,
            uniform_fresh_share,
            target,
        }
    }

    fn records(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.count))
    }

    /// lambda; 0 where no look is worth anything.
    fn price(&self) -> f64 {
        if self.found.price > f64::MIN_POSITIVE { self.found.price } else { 0.0 }
    }

    /// The age at which each entry's records are looked at, in days.
    fn ages(&self) -> impl Iterator<Item = Option<f64>> {
        self.population.iter().map(|group| group.habits.threshold_age_days(self.found.price))
    }

    pub(crate) fn to_json(&self) -> Value {
        let ages: Vec<_> = self.ages().collect();
        let mut value = json!({
            "lambda": self.price(),
            "fresh_share": self.found.fresh_share,
            "stale_share": 1.0 - self.found.fresh_share,
            "uniform_fresh_share": self.uniform_fresh_share,
            "budget_per_day": self.budget_per_day,
            "spent_per_day": self.found.looks_per_day,
            "records": self.records(),
            "looks_per_day": self.looks_per_day,
            "look_at_age_days": ages,
            "entries": self.entries,
        });
        if let (Some(target), Some(object)) = (&self.target, value.as_object_mut()) {
            object.insert("target".to_owned(), json!(target.share));
            object.insert("uniform_budget_per_day".to_owned(), json!(target.uniform_per_day));
        }
        value
    }

    pub(crate) fn to_text(&self) -> String {
        let percent = |share: f64| format!("{:.4} %", 100.0 * share);
        let mut lines = Vec::new();
        if let Some(target) = &self.target {
            let uniform = target.uniform_per_day.map_or("no number of".to_owned(), rate);
            lines.push(format!(
                "{} fresh takes {} looks; with uniform sampling {uniform}",
                percent(target.share),
                rate(self.found.looks_per_day),
            ));
        }
        lines.extend([
            format!("records        {}", self.records()),
            format!("looks          {}", rate(self.found.looks_per_day)),
            format!("fresh          {} of the time, weighted", percent(self.found.fresh_share)),
            format!("stale          {}", percent(1.0 - self.found.fresh_share)),
            format!(
                "uniform looks  {} fresh, {} stale",
                percent(self.uniform_fresh_share),
                percent(1.0 - self.uniform_fresh_share)
            ),
            format!("lambda         {} weighted days of freshness a look", short(self.price())),
            String::new(),
            self.table(),
        ]);
        if self.entries.len() > MOST_SHOWN {
            lines
                .push(format!("and {} more: --json has them all", self.entries.len() - MOST_SHOWN));
        }
        lines.join("\n")
    }

    fn table(&self) -> String {
        let columns = [
            Column::Number("Entry"),
            Column::Number("Records"),
            Column::Number("Changes a day"),
            Column::Number("Weight"),
            Column::Number("Recall"),
            Column::Number("Looked at"),
            Column::Number("at age"),
            Column::Number("Fresh"),
        ];
        let rows =
            self.entries.iter().zip(self.population).zip(&self.looks_per_day).zip(self.ages());
        let rows = rows.enumerate().take(MOST_SHOWN).map(|(n, (((entry, group), looks), age))| {
            [
                (n + 1).to_string(),
                entry.count.to_string(),
                entry.rate_per_day.to_string(),
                entry.weight.to_string(),
                entry.recall.to_string(),
                rate(*looks),
                age.map_or("never".to_owned(), days),
                format!("{:.2} %", 100.0 * group.habits.fresh_share(age)),
            ]
        });
        draw(columns, rows, "there are no records")
    }
}

/// The looks per day with which uniform sampling keeps that share fresh, by bisection.
fn uniform_budget(population: &[Alike], share: f64) -> Option<f64> {
    let enough = |budget| fresh_share_at_random(population, budget) >= share;
    if enough(0.0) {
        return Some(0.0);
    }
    let (mut low, mut high) = (1e-12_f64.ln(), 1e24_f64.ln());
    if !enough(high.exp()) {
        return None;
    }
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if enough(middle.exp()) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high.exp())
}

/// A rate in the unit in which it is easiest to read.
fn rate(per_day: f64) -> String {
    let (number, unit) = match per_day {
        _ if per_day >= 86_400.0 => (per_day / 86_400.0, "s"),
        _ if per_day >= 1_440.0 => (per_day / 1_440.0, "min"),
        _ if per_day >= 24.0 => (per_day / 24.0, "hour"),
        _ => (per_day, "day"),
    };
    format!("{}/{unit}", short(number))
}

fn days(days: f64) -> String {
    match days {
        _ if days >= 1.0 => format!("{} days", short(days)),
        _ if days * 24.0 >= 1.0 => format!("{} h", short(days * 24.0)),
        _ if days * 1_440.0 >= 1.0 => format!("{} min", short(days * 1_440.0)),
        _ => format!("{} s", short(days * 86_400.0)),
    }
}

/// Four digits or so, written out where that is not too long.
fn short(number: f64) -> String {
    let text = match number {
        _ if number >= 1e15 => return format!("{number:.3e}"),
        _ if number >= 100.0 => format!("{number:.1}"),
        _ if number >= 1.0 || number == 0.0 => format!("{number:.3}"),
        _ if number >= 1e-6 => {
            // The fourth digit that is not 0.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "4 to 9")]
            let digits = (3.0 - number.log10().floor()) as usize;
            format!("{number:.digits$}")
        }
        _ => return format!("{number:.3e}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_out_and_none_that_is_small_is_shown_as_nothing() {
        for (number, written) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (1.0 / 3.0, "0.3333"),
            (0.000_028_571, "0.00002857"),
            (0.000_999_96, "0.001"),
            (2e-18, "2.000e-18"),
            (3.0, "3"),
            (99.9999, "100"),
            (8_641.118, "8641.1"),
            (5_787_033_178.2, "5787033178.2"),
            (1.5e20, "1.500e20"),
        ] {
            assert_eq!(short(number), written, "{number}");
        }
        assert_eq!(rate(0.000_028_571), "0.00002857/day");
        assert_eq!(days(1e-12), "8.640e-8 s");
    }
}
