//! What the reference and the JSON Schema both say of a key, in sentences of Markdown.

use crate::settings::describe::{Key, Shape};
use crate::settings::units::{ByteSize, TimeSpan};

/// What a value is, in a few words of Markdown.
pub(super) fn type_of(key: &Key) -> String {
    match &key.shape {
        Shape::Boolean => "boolean".to_owned(),
        Shape::Integer { least, most } => format!("integer, {least} to {most}"),
        Shape::Duration { least, most } => {
            format!("duration, `\"{}\"` to `\"{}\"`", TimeSpan(*least), TimeSpan(*most))
        }
        Shape::Size { least, most } => {
            format!("size, `\"{}\"` to `\"{}\"`", ByteSize(*least), ByteSize(*most))
        }
        Shape::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word:?}`")).collect();
            alternatives(&words)
        }
        // Of a password, `what` says itself that it is a string.
        Shape::Text => match key.what.strip_prefix("a string") {
            Some(more) => format!("string{more}"),
            None => format!("string: {}", in_code(&key.what)),
        },
        Shape::OneOrList(_) => format!("string or array: {}", in_code(&key.what)),
        Shape::List { is_unique, .. } => {
            let what = key.what.strip_prefix("an ").unwrap_or(&key.what);
            let twice = if *is_unique { ", none of them twice" } else { "" };
            format!("{}{twice}", in_code(what))
        }
        Shape::Claims => "table of claims".to_owned(),
        Shape::Table(_) => "table".to_owned(),
        Shape::Tables(_) => "array of tables".to_owned(),
        Shape::OneOrTables(_) => "table or array of tables".to_owned(),
    }
}

/// Whether a key must be there in every table.
pub(super) fn is_required(key: &Key) -> bool {
    key.rules.is_required && key.rules.only_with.is_none()
}

/// How a key goes together with others, as sentences of Markdown.
pub(super) fn rules_of(key: &Key) -> Vec<String> {
    let rules = &key.rules;
    let mut sentences = Vec::new();
    if let Some((other, word)) = rules.only_with {
        let required = if rules.is_required { "Required, and only" } else { "Only" };
        sentences.push(format!("{required} allowed with `{other} = {word:?}`."));
    }
    if let Some((other, words)) = rules.useless_with {
        let values: Vec<_> =
            words.iter().map(|(word, _)| format!("`{other} = {word:?}`")).collect();
        sentences.push(format!("Not allowed with {}.", alternatives(&values)));
    }
    if let Some((order, other)) = rules.compared {
        sentences.push(format!("It must {} `{other}`.", order.words()));
    }
    if !rules.needs.is_empty() {
        let needed: Vec<_> = rules.needs.iter().map(|key| format!("`{key}`")).collect();
        sentences.push(format!("Needs {} beside it.", alternatives(&needed)));
    }
    if let Some(other) = rules.excludes {
        sentences.push(format!("Cannot stand beside `{other}`."));
    }
    sentences
}

/// As `a, b or c`.
fn alternatives(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Marks what stands in quotes and the names of tables as code.
fn in_code(words: &str) -> String {
    let mut text = String::new();
    for (index, part) in words.split('"').enumerate() {
        if index % 2 == 1 {
            text.push_str(&format!("`\"{part}\"`"));
        } else {
            text.push_str(&part.replace("[[", "`[[").replace("]]", "]]`"));
        }
    }
    text
}
