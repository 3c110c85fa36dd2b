//! Lists as text: aligned columns under a header row, safe to look at in a terminal.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use crate::domain::Timestamp;

/// The gap between two columns.
const GAP: usize = 2;

/// Writes rows under their header, each column as wide as its widest cell.
pub(super) fn write<const N: usize>(
    out: &mut dyn io::Write,
    header: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let header = header.map(str::to_owned);
    let mut widths = [0; N];
    for row in std::iter::once(&header).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}", width = width + GAP);
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        if let Err(error) = out.write_all(line.as_bytes()) {
            return unless_closed(error);
        }
    }
    Ok(())
}

/// Writes a list as one JSON array on one line.
pub(super) fn write_json(out: &mut dyn io::Write, listings: &[impl Serialize]) -> io::Result<()> {
    let mut line = serde_json::to_vec(listings)?;
    line.push(b'\n');
    out.write_all(&line).or_else(unless_closed)
}

/// A reader that has seen enough (`| head`) is no failure of a list.
fn unless_closed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
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
        let mut out = Vec::new();
        let rows = [["éé".to_owned(), "x".to_owned()], ["a".to_owned(), String::new()]];
        write(&mut out, ["A", "LONG"], &rows).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "A   LONG\néé  x\na\n");
    }

    #[test]
    fn a_name_cannot_play_tricks_with_the_terminal() {
        assert_eq!(text("a\u{1b}[31mb\u{202e}\n\u{9b}ü"), "a\\u{1b}[31mb\\u{202e}\\n\\u{9b}ü");
    }
}
