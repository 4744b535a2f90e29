//! Tables whose columns are as wide as what is in them.

use std::fmt::Write as _;

use crate::console::{Painter, Style, printable};

/// One cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Option<Style>,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: None }
    }

    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style: Some(style) }
    }
}

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Writes a table: a head, then its rows. What is in cells may come from anywhere.
pub(super) fn write(
    out: &mut String,
    painter: Painter,
    columns: &[(&str, Align)],
    rows: &[Vec<Cell>],
) {
    let rows: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| Cell { text: printable(&cell.text), ..*cell }).collect())
        .collect();
    let width = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        let widest = cells.map(|cell| cell.text.chars().count()).max().unwrap_or_default();
        columns.get(index).map_or(widest, |(name, _)| widest.max(name.len()))
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let head: Vec<_> = columns.iter().map(|(name, _)| Cell::styled(*name, Style::Dim)).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for ((cell, width), (index, (_, align))) in
            row.iter().zip(&widths).zip(columns.iter().enumerate())
        {
            let pad = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let gap = if index > 0 { "  " } else { "" };
            let text = match cell.style {
                Some(style) => painter.paint(style, &cell.text).to_string(),
                None => cell.text.clone(),
            };
            let _ = match align {
                Align::Left => write!(line, "{gap}{text}{pad}"),
                Align::Right => write!(line, "{gap}{pad}{text}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_colours_take_no_room() {
        let rows = [
            vec![Cell::styled("é", Style::Good), Cell::new("1")],
            vec![Cell::new("longer"), Cell::new("1000")],
            vec![Cell::new("a\u{1b}[2J"), Cell::new("2")],
        ];
        let columns = [("NAME", Align::Left), ("N", Align::Right)];
        let table = |color| {
            let mut out = String::new();
            write(&mut out, Painter { color }, &columns, &rows);
            out
        };
        let plain = "NAME           N\né              1\nlonger      1000\na\\u{1b}[2J     2\n";
        assert_eq!(table(false), plain);
        let coloured = table(true);
        assert!(coloured.contains("\x1b[32mé\x1b[0m              1\n"), "{coloured:?}");
    }
}
