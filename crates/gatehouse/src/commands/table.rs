//! Tables for display.

use model::line::marked;

/// Formats rows below column names; each column is as wide as its longest value. Control characters, and characters
/// that could mislead a reader, are shown as U+FFFD.
pub(super) fn table<const N: usize>(names: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let printable = |text: String| marked(&text).into_owned();
    let head = names.map(str::to_uppercase);
    let rows: Vec<[String; N]> = std::iter::once(head).chain(rows.into_iter().map(|row| row.map(printable))).collect();
    if rows.len() == 1 {
        return "None.".to_owned();
    }
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_nothing_speaks_to_the_terminal() {
        let rows = [["бoб", "", "x"], ["a\u{1b}[2J", "lo\u{202e}ng", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["login", "b", "c"], rows), "LOGIN  B      C\nбoб           x\na\u{fffd}[2J  lo\u{fffd}ng");
        assert_eq!(table(["login"], []), "None.");
    }
}
