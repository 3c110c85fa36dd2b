//! What the reference and the JSON Schema both say of a key, in sentences of Markdown.

use crate::settings::describe::{Key, Shape, alternatives};
use crate::settings::units::{ByteSize, TimeSpan};

/// What a value is, in a few words of Markdown.
pub(super) fn type_of(key: &Key) -> String {
    type_of_shape(&key.shape)
}

fn type_of_shape(shape: &Shape) -> String {
    match shape {
        Shape::Boolean => "boolean".to_owned(),
        Shape::Integer(range) => format!("integer, {} to {}", range.start(), range.end()),
        Shape::Duration(range) => {
            let (least, most) = (TimeSpan(*range.start()), TimeSpan(*range.end()));
            format!("duration, `\"{least}\"` to `\"{most}\"`")
        }
        Shape::Size(range, _) => {
            let (least, most) = (ByteSize::from(*range.start()), ByteSize::from(*range.end()));
            format!("size, `\"{least}\"` to `\"{most}\"`")
        }
        Shape::OrOff(shape) => format!("{}, or `\"off\"`", type_of_shape(shape)),
        Shape::Words(words) => alternatives(words.iter().map(|word| format!("`{word:?}`"))),
        // Of a password, the words say themselves that it is a string.
        Shape::Text(what) => match what.strip_prefix("a string") {
            Some(more) => format!("string{more}"),
            None => format!("string: {}", in_code(what)),
        },
        Shape::OneOrList(_) => format!("string or array: {}", in_code(&shape.what())),
        Shape::TextOrTable(what, _) => format!("string or table: {}", in_code(what)),
        Shape::List { item, is_unique, .. } => {
            let twice = if *is_unique { ", none of them twice" } else { "" };
            format!("array, each item {}{twice}", in_code(&item.what()))
        }
        Shape::Claims => "table of claims".to_owned(),
        Shape::Named(names, value) => {
            format!("table whose keys are {names}, each {}", in_code(&value.what()))
        }
        Shape::Either(_) => in_code(&shape.what()),
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
        let values = words.iter().map(|(word, _)| format!("`{other} = {word:?}`"));
        sentences.push(format!("Not allowed with {}.", alternatives(values)));
    }
    if let Some((order, other)) = rules.compared {
        sentences.push(format!("It must {} `{other}`.", order.words()));
    }
    if !rules.needs.is_empty() {
        let needed = alternatives(rules.needs.iter().map(|key| format!("`{key}`")));
        sentences.push(format!("Needs {needed} beside it."));
    }
    if let Some(other) = rules.excludes {
        sentences.push(format!("Cannot stand beside `{other}`."));
    }
    sentences
}

/// Marks what stands in quotes and the names of tables as code.
fn in_code(words: &str) -> String {
    let parts = words.split('"').enumerate().map(|(index, part)| match index % 2 {
        1 => format!("`\"{part}\"`"),
        _ => part.replace("[[", "`[[").replace("]]", "]]`"),
    });
    parts.collect()
}
