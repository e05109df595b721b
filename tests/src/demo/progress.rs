//! What is going on: a table that refreshes in a terminal, plain lines otherwise.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

use super::numbers::Numbers;

/// In a terminal the table refreshes this often.
const REFRESH: Duration = Duration::from_millis(500);
/// Otherwise a line comes this often.
const LINE: Duration = Duration::from_secs(5);

pub(super) struct Progress {
    /// In a terminal.
    bar: Option<ProgressBar>,
    /// When the last line was written elsewhere.
    last_line: Option<Duration>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = stdout().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, last_line: None }
    }

    pub(super) fn pause(&self) -> Duration {
        if self.bar.is_some() { REFRESH } else { Duration::from_secs(1) }
    }

    /// A sentence that stays.
    #[expect(clippy::print_stdout, reason = "this is what a person runs the demo for")]
    pub(super) fn say(&self, sentence: &str) {
        match &self.bar {
            Some(bar) => bar.println(sentence),
            None => println!("{sentence}"),
        }
    }

    pub(super) fn show(&mut self, phase: &str, elapsed: Duration, numbers: &Numbers) {
        match &self.bar {
            Some(bar) => bar.set_message(table(phase, elapsed, numbers)),
            None if self.last_line.is_some_and(|last| elapsed < last + LINE) => {}
            None => {
                self.last_line = Some(elapsed);
                self.say(&line(phase, elapsed, numbers));
            }
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(phase: &str, elapsed: Duration, numbers: &Numbers) -> String {
    let quotas: Vec<String> = numbers
        .platforms
        .iter()
        .flat_map(|platform| &platform.quotas)
        .map(|quota| format!("{} {}/{}", quota.name, quota.most_in_a_window, quota.limit))
        .collect();
    format!(
        "{:>4} s {phase}: {} changes on the platforms, {} notices answered, {} open, {} records, \
         {} changes applied, drift {} found {} repaired, most in a window: {}, refused {}",
        elapsed.as_secs(),
        numbers.of_platforms(super::numbers::Platform::changed),
        numbers.notices_answered,
        numbers.notices_open,
        numbers.records(),
        numbers.changes_applied(),
        numbers.drift_found,
        numbers.drift_repaired,
        quotas.join(", "),
        numbers.of_platforms(|platform| platform.refusals),
    )
}

fn table(phase: &str, elapsed: Duration, numbers: &Numbers) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([format!("{phase}, {} s", elapsed.as_secs()), String::new()]);
    let changed = numbers.of_platforms(super::numbers::Platform::changed);
    let rows = [
        ("changes on the platforms", changed.to_string()),
        ("webhooks lost by them", numbers.of_platforms(|p| p.webhooks.lost).to_string()),
        (
            "notices answered / open",
            format!("{} / {}", numbers.notices_answered, numbers.notices_open),
        ),
        ("records mirrored", numbers.records().to_string()),
        ("changes applied", numbers.changes_applied().to_string()),
        ("drift found / repaired", format!("{} / {}", numbers.drift_found, numbers.drift_repaired)),
        ("scans done", numbers.scans_done.to_string()),
        ("dead letters", numbers.dead_letters.to_string()),
    ];
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    for platform in &numbers.platforms {
        for quota in &platform.quotas {
            table.add_row([
                format!("{} {}: most in a window", platform.name, quota.name),
                format!("{} of {}, refused {}", quota.most_in_a_window, quota.limit, quota.refused),
            ]);
        }
    }
    table.to_string()
}
