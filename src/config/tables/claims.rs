//! Tables of claims and what they must be. Their keys are the operator's own.

use crate::domain::{ClaimPath, ClaimRule, ClaimValue};
use crate::settings::describe::Shape;
use crate::settings::kind::Kind;
use crate::settings::section::Given;
use crate::settings::typed::{Entry, Node, Value};

/// What has a claim in it that names itself.
pub(super) const CLAIM: &str =
    "the name of a claim, with dots for claims in claims, as in \"realm_access.roles\"";

const WHAT: &str = "a table of claims, as in { typ = \"Bearer\" }";

/// `claim = value`, `claim = [value, …]` and `claim = { inner = … }`, the last to any depth.
pub(super) struct Claims;

impl Kind for Claims {
    type Value = Vec<ClaimRule>;

    fn what(&self) -> String {
        WHAT.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Claims
    }

    fn read(&self, given: &Given<'_>) -> Option<Vec<ClaimRule>> {
        let mut rules = Vec::new();
        match &given.node.value {
            Value::Table(table) => {
                for entry in &table.entries {
                    read_rules(None, entry, &mut rules, given);
                }
            }
            _ => given.unfit(WHAT, ""),
        }
        Some(rules)
    }

    fn spell(&self, _: &Vec<ClaimRule>) -> String {
        "{}".to_owned()
    }
}

fn read_rules(
    outer: Option<&ClaimPath>,
    entry: &Entry,
    rules: &mut Vec<ClaimRule>,
    given: &Given<'_>,
) {
    let inner: ClaimPath = match entry.key.parse() {
        Ok(path) => path,
        Err(reason) => {
            let message = format!("each key of {:?} must be {CLAIM}: {reason}", given.key);
            given.findings.fault(Some(entry.at), message);
            return;
        }
    };
    let path = match outer {
        Some(outer) => outer.clone().join(inner),
        None => inner,
    };
    let one_of: Vec<ClaimValue> = match &entry.node.value {
        Value::Table(table) if !table.entries.is_empty() => {
            for entry in &table.entries {
                read_rules(Some(&path), entry, rules, given);
            }
            return;
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().filter_map(|item| claim_value(&path, item, given)).collect()
        }
        _ => claim_value(&path, &entry.node, given).into_iter().collect(),
    };
    rules.push(ClaimRule { path, one_of });
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
