//! Tables whose keys are names of the operator's own, such as those of header fields.

use super::describe::Shape;
use super::fault::quoted;
use super::kind::{Kind, Text};
use super::section::Given;
use super::typed::Value;

/// A table with a value for each name, in the order of the file; no name may stand in it twice,
/// however it is spelled.
pub(crate) struct Named<N, K> {
    /// What its keys are, in the plural.
    names: &'static str,
    name: Text<N>,
    value: K,
}

pub(crate) const fn named<N, K: Kind>(names: &'static str, name: Text<N>, value: K) -> Named<N, K> {
    Named { names, name, value }
}

impl<N: PartialEq, K: Kind> Kind for Named<N, K> {
    type Value = Vec<(N, K::Value)>;

    fn shape(&self) -> Shape {
        Shape::Named(self.names, Box::new(self.value.shape()))
    }

    fn read(&self, given: &Given<'_>) -> Option<Self::Value> {
        let Value::Table(table) = &given.node.value else {
            // What stands there instead may be a secret.
            given.fault(&format!("must be a table whose keys are {}", self.names));
            return None;
        };
        let mut values: Self::Value = Vec::with_capacity(table.entries.len());
        for entry in &table.entries {
            let fault = |words: String| {
                given.findings.fault(Some(entry.at), format!("{:?}: {words}", given.key));
            };
            let name = match (self.name.parse)(&entry.key) {
                Ok(name) => name,
                Err(reason) => {
                    let colon = if reason.is_empty() { "" } else { ": " };
                    let (what, found) = (self.name.what, quoted(&entry.key));
                    fault(format!("each key must be {what}, found {found}{colon}{reason}"));
                    continue;
                }
            };
            if values.iter().any(|(known, _)| *known == name) {
                fault(format!("{} stands in it twice", quoted(&entry.key)));
            }
            if let Some(value) = self.value.read(&given.named(&entry.key, &entry.node)) {
                values.push((name, value));
            }
        }
        Some(values)
    }

    fn spell(&self, _: &Self::Value) -> String {
        "{}".to_owned()
    }
}
