//! The reference, `docs/configuration.md`.

use super::words::{is_required, rules_of, type_of};
use crate::config::tables::Root;
use crate::settings::Settings as _;
use crate::settings::describe::{Description, Key, Shape};

/// What holds for all tables.
const INTRODUCTION: &str = include_str!("introduction.md");
/// In characters.
const LONGEST_LINE: usize = 100;

/// The reference of the whole configuration, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for key in &Root::description().keys {
        let title = match key.shape {
            Shape::Tables(_) => format!("[[{}]]", key.name),
            _ => format!("[{}]", key.name),
        };
        if let Some(table) = key.shape.table() {
            write_table(&mut page, "##", &title, table);
        }
    }
    page
}

fn write_table(page: &mut String, level: &str, title: &str, table: &Description) {
    page.push_str(&format!("\n{level} `{title}`\n"));
    for paragraph in table.text.split("\n\n") {
        page.push('\n');
        write_wrapped(page, "", "", paragraph);
    }
    page.push('\n');
    for key in &table.keys {
        write_wrapped(page, "* ", "  ", &sentence_of(key));
    }
    for key in &table.keys {
        if let Some(inner) = key.shape.table() {
            write_table(page, "###", &format!("{} of {title}", key.name), inner);
        }
    }
}

/// A key on one line: its name, what it is, and what it means.
fn sentence_of(key: &Key) -> String {
    let default = match &key.default {
        Some(default) => format!("; default `{default}`"),
        None if is_required(key) => "; required".to_owned(),
        None => String::new(),
    };
    let mut sentences = vec![format!("**`{}`** ({}{default}).", key.name, type_of(key))];
    if !key.text.is_empty() {
        sentences.push(key.text.replace("\n\n", " "));
    }
    sentences.extend(rules_of(key));
    sentences.join(" ")
}

/// Writes a paragraph in lines that are not too long.
fn write_wrapped(page: &mut String, first: &str, others: &str, text: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let length = line.chars().count() + 1 + word.chars().count();
        if !is_empty && length > LONGEST_LINE {
            page.push_str(&line);
            page.push('\n');
            line = others.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    page.push_str(&line);
    page.push('\n');
}
