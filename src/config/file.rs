//! The first step of configuration: what was typed. TOML text becomes a tree in which every key and
//! value knows where it stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::{Environment, expand};
use crate::settings::fault::Findings;
use crate::settings::typed::{Entry, Node, Table, Value};

/// Reads the text into a tree and expands its strings. A syntax error leaves nothing to read on.
pub(super) fn read(text: &str, env: Environment<'_>, findings: &Findings<'_>) -> Option<Table> {
    match DeTable::parse(text) {
        Ok(table) => Some(convert_table(table.into_inner(), env, findings)),
        Err(error) => {
            // Without a span the parser ran into the end of the text.
            let at = error.span().map_or(text.len(), |span| span.start);
            findings.fault(Some(at), format!("this is not TOML: {}", error.message()));
            None
        }
    }
}

fn convert_table(table: DeTable<'_>, env: Environment<'_>, findings: &Findings<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            at: key.span().start,
            key: key.into_inner().into_owned(),
            node: convert(value, env, findings),
        })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    Table { entries }
}

fn convert(value: Spanned<DeValue<'_>>, env: Environment<'_>, findings: &Findings<'_>) -> Node {
    let at = value.span().start;
    let value = match value.into_inner() {
        DeValue::String(text) => match expand(&text, env) {
            Ok(None) => Value::Text { value: text.into_owned(), typed: None },
            Ok(Some(value)) => Value::Text { value, typed: Some(text.into_owned()) },
            Err(faults) => {
                for fault in faults {
                    findings.fault(Some(at), fault);
                }
                Value::Broken
            }
        },
        DeValue::Integer(integer) => Value::Integer {
            value: i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            typed: integer.to_string(),
        },
        DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(array) => {
            Value::Array(array.into_iter().map(|item| convert(item, env, findings)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, env, findings)),
    };
    Node { at, value }
}
