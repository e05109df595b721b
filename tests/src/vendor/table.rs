//! Results for people and for programs.

use comfy_table::{Table, presets};

use super::trial::Outcome;

/// The outcomes as a table.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "platform",
        "scheme",
        "demand",
        "refuses by",
        "requests",
        "refused by log",
        "refused by windows",
        "most in a window",
        "used",
        "usable",
        "given up",
        "calls per permit",
    ]);
    for outcome in outcomes {
        let most: Vec<String> =
            outcome.most.iter().map(|(most, limit)| format!("{most} of {limit}")).collect();
        let calls = f64::from(outcome.clients.asked) / f64::from(outcome.clients.granted.max(1));
        table.add_row([
            outcome.platform.clone(),
            outcome.scheme.name().to_owned(),
            outcome.demand.name().to_owned(),
            outcome.rule.name().to_owned(),
            outcome.arrived.to_string(),
            outcome.refused_by_log.to_string(),
            outcome.refused_by_windows.to_string(),
            most.join(", "),
            format!("{:.1} %", outcome.used * 100.0),
            format!("{:.1} %", outcome.usable * 100.0),
            outcome.clients.timed_out.to_string(),
            format!("{calls:.1}"),
        ]);
    }
    table.to_string()
}

/// The outcomes as JSON, one a line.
///
/// # Errors
///
/// When a number is not one.
pub fn json_lines(outcomes: &[Outcome]) -> serde_json::Result<String> {
    let lines: Result<Vec<String>, _> = outcomes.iter().map(serde_json::to_string).collect();
    Ok(lines?.join("\n"))
}
