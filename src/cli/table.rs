//! Lists: aligned columns under a header row, safe to look at in a terminal, or one JSON array.

use std::fmt::Write as _;

use serde::Serialize;

use super::context::Context;
use super::failure::Failure;
use crate::domain::Timestamp;

/// The gap between two columns.
const GAP: usize = 2;

/// A column: its header, and its cell in the row of an item.
pub(super) type Column<T> = (&'static str, fn(&T) -> String);

/// Writes a list.
pub(super) fn write<T: Serialize>(
    context: &mut Context<'_>,
    items: &[T],
    as_json: bool,
    columns: &[Column<T>],
) -> Result<(), Failure> {
    if as_json {
        let array = serde_json::to_string(items).map_err(Failure::new)?;
        return context.write_list(format_args!("{array}\n"));
    }
    context.write_list(aligned(items, columns))
}

/// Rows under their header, each column as wide as its widest cell.
fn aligned<T>(items: &[T], columns: &[Column<T>]) -> String {
    let header = columns.iter().map(|(header, _)| (*header).to_owned()).collect();
    let row = |item| columns.iter().map(|(_, cell)| cell(item)).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(items.iter().map(row)).collect();
    let mut widths = vec![0; columns.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(text, "{cell:<width$}", width = width + GAP);
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

/// Says that a list may not be the whole one.
pub(super) fn note_limit(context: &mut Context<'_>, shown: usize, limit: usize) {
    if shown >= limit {
        context.note(format_args!("only the first {limit} are shown"));
    }
}

/// A cell of text from outside: characters that would move the cursor, colour the line or turn its
/// direction are escaped.
pub(super) fn text(value: &str) -> String {
    let mut cell = String::with_capacity(value.len());
    for character in value.chars() {
        let reorders = matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders {
            cell.extend(character.escape_default());
        } else {
            cell.push(character);
        }
    }
    cell
}

/// A cell that may be empty.
pub(super) fn maybe(value: Option<&str>) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// A cell with a time, in RFC 3339.
pub(super) fn time(value: Option<Timestamp>, absent: &str) -> String {
    value.map_or_else(|| absent.to_owned(), Timestamp::to_rfc3339_zulu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_have_no_trailing_blanks() {
        let columns: &[Column<(&str, &str)>] =
            &[("A", |row| row.0.to_owned()), ("LONG", |row| row.1.to_owned())];
        assert_eq!(aligned(&[("éé", "x"), ("a", "")], columns), "A   LONG\néé  x\na\n");
    }

    #[test]
    fn a_name_cannot_play_tricks_with_the_terminal() {
        assert_eq!(text("a\u{1b}[31mb\u{202e}\n\u{9b}ü"), "a\\u{1b}[31mb\\u{202e}\\n\\u{9b}ü");
    }
}
