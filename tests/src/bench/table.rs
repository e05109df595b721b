//! Figures for people: what is to be reached and what was measured, side by side.

use comfy_table::{CellAlignment, Table, presets};

use super::figure::{Figure, Reach};

/// The figures as a table.
pub fn table<'a>(figures: impl IntoIterator<Item = &'a Figure>) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["figure", "unit", "reach", "measured", "min .. max", "runs", "reached"]);
    for figure in figures {
        let spread = figure.spread();
        let reach = match figure.reach {
            Some(Reach::AtMost(bound)) => format!("<= {}", number(bound)),
            Some(Reach::AtLeast(bound)) => format!(">= {}", number(bound)),
            None => String::new(),
        };
        let reached = match figure.is_reached() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        table.add_row([
            figure.name.clone(),
            figure.unit.to_owned(),
            reach,
            spread.map_or_else(String::new, |s| number(s.median)),
            spread.map_or_else(String::new, |s| format!("{} .. {}", number(s.min), number(s.max))),
            figure.runs().to_string(),
            reached.to_owned(),
        ]);
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// Three digits that count, and no more after the point than that takes.
fn number(value: f64) -> String {
    if value.fract().abs() < f64::EPSILON && value.abs() < 1000.0 {
        return format!("{value:.0}");
    }
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::Figures;
    use super::*;

    #[test]
    fn reach_and_measured_stand_side_by_side() {
        let mut figures = Figures::default();
        figures.record("cpu", "us", Some(Reach::AtMost(20.0)), 12.345);
        figures.record("ratio", "x", Some(Reach::AtLeast(5.0)), 4.9);
        figures.record("bare", "us", None, 0.04);
        let text = table(figures.all());
        let row = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap();
            line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(row("cpu"), ["cpu", "us", "<= 20", "12.3", "12.3 .. 12.3", "1", "yes"]);
        assert_eq!(row("ratio"), ["ratio", "x", ">= 5", "4.90", "4.90 .. 4.90", "1", "NO"]);
        assert_eq!(row("bare"), ["bare", "us", "0.040", "0.040 .. 0.040", "1"]);
    }
}
