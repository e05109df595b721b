//! Tables for people.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Row, Table as Drawn, TableStyle};

/// A line under the header and nothing else.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A heading and how what is below it is set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// To the left.
    Text(&'static str),
    /// To the right.
    Number(&'static str),
}

/// Draws a table as wide as the terminal; `none` where there are no rows.
pub(crate) fn draw<const N: usize>(
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
    none: &str,
) -> String {
    let mut table = Drawn::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.map(|column| match column {
        Column::Text(name) | Column::Number(name) => name,
    }));
    for row in rows {
        table.add_row(Row::from(row.map(|text| plain(&text))));
    }
    if table.is_empty() {
        return none.to_owned();
    }
    for (drawn, column) in table.column_iter_mut().zip(columns) {
        if matches!(column, Column::Number(_)) {
            drawn.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// A text without what a terminal would obey: ids and reasons come from platforms.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_to_the_right_and_control_characters_are_not_obeyed() {
        let rows = [["a\u{1b}[2J".to_owned(), "7".to_owned()], ["b".to_owned(), "1234".to_owned()]];
        let drawn = draw([Column::Text("Name"), Column::Number("Count")], rows, "none");
        assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
        let last = drawn.lines().last().unwrap();
        assert!(last.trim_end().ends_with("1234") && last.contains('b'), "{drawn}");
        assert!(drawn.lines().any(|line| line.trim_end().ends_with("    7")), "{drawn}");
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(draw([Column::Text("Name")], [], "there are none"), "there are none");
    }
}
