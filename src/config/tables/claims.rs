//! Tables of claims and what they must be. Their keys are the operator's own.

use crate::domain::{ClaimPath, ClaimRule, ClaimValue};
use crate::settings::describe::Shape;
use crate::settings::kind::Kind;
use crate::settings::section::Given;
use crate::settings::typed::{Node, Table, Value};

/// What has a claim in it that names itself.
pub(super) const CLAIM: &str =
    "the name of a claim, with dots for claims in claims, as in \"realm_access.roles\"";

/// `claim = value`, `claim = [value, …]` and `claim = { inner = … }`, the last to any depth.
pub(super) struct Claims;

impl Kind for Claims {
    type Value = Vec<ClaimRule>;

    fn shape(&self) -> Shape {
        Shape::Claims
    }

    fn read(&self, given: &Given<'_>) -> Option<Vec<ClaimRule>> {
        let mut rules = Vec::new();
        if let Value::Table(table) = &given.node.value {
            read_rules(None, table, &mut rules, given);
        } else {
            given.unfit(&self.shape().what(), "");
        }
        Some(rules)
    }

    fn spell(&self, _: &Vec<ClaimRule>) -> String {
        "{}".to_owned()
    }
}

fn read_rules(
    outer: Option<&ClaimPath>,
    table: &Table,
    rules: &mut Vec<ClaimRule>,
    given: &Given<'_>,
) {
    for entry in &table.entries {
        let inner: ClaimPath = match entry.key.parse() {
            Ok(path) => path,
            Err(reason) => {
                let message = format!("each key of {:?} must be {CLAIM}: {reason}", given.key);
                given.findings.fault(Some(entry.at), message);
                continue;
            }
        };
        let path = match outer {
            Some(outer) => outer.clone().join(inner),
            None => inner,
        };
        let values = match &entry.node.value {
            Value::Table(table) if !table.entries.is_empty() => {
                read_rules(Some(&path), table, rules, given);
                continue;
            }
            Value::Array(items) if !items.is_empty() => items.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        let one_of = values.iter().filter_map(|value| claim_value(&path, value, given)).collect();
        rules.push(ClaimRule { path, one_of });
    }
}

fn claim_value(path: &ClaimPath, node: &Node, given: &Given<'_>) -> Option<ClaimValue> {
    match &node.value {
        Value::Text { value, .. } if !value.chars().any(char::is_control) => {
            Some(ClaimValue::Text(value.clone()))
        }
        Value::Integer { value: Some(value), .. } => Some(ClaimValue::Integer(*value)),
        Value::Boolean(value) => Some(ClaimValue::Boolean(*value)),
        Value::Broken => None,
        other => {
            let (key, found) = (given.key, other.describe());
            let message = format!(
                "{key:?}: \"{path}\" must be a string, an integer, a boolean or an array of \
                 those, found {found}"
            );
            given.findings.fault(Some(node.at), message);
            None
        }
    }
}
