//! Names: each is taken once, and what is named is there.

use crate::config::tables::Name;
use crate::settings::fault::{Findings, nearest, quoted};

/// Objects that others name. The names include those of objects with a fault: naming one of them is
/// no further fault.
pub(super) struct Named<T> {
    pub(super) objects: Vec<T>,
    pub(super) names: Vec<Name>,
}

impl<T> Named<T> {
    pub(super) fn new() -> Self {
        Self { objects: Vec::new(), names: Vec::new() }
    }

    /// Adds a name, which must be new among these and the others.
    pub(super) fn add(&mut self, name: Option<&Name>, others: &[Name], findings: &Findings<'_>) {
        let Some(name) = name else { return };
        let is_same = |other: &&Name| other.value == name.value;
        if let Some(other) = self.names.iter().chain(others).find(is_same) {
            let (line, value) = (findings.line(other.at), &name.value);
            findings.fault(Some(name.at), format!("\"name\" {value:?} is taken on line {line}"));
        }
        self.names.push(name.clone());
    }
}

/// The number of a name among the known ones. If it is unknown, that is a fault; `what`: the table
/// that would have it.
pub(super) fn find<'n>(
    name: &Name,
    known: impl IntoIterator<Item = &'n Name> + Clone,
    what: &str,
    findings: &Findings<'_>,
) -> Option<usize> {
    let known = || known.clone().into_iter().map(|known| &*known.value);
    let found = known().position(|known| *known == *name.value);
    if found.is_none() {
        let hint = match nearest(&name.value, known()) {
            Some(meant) => format!("; did you mean {meant:?}?"),
            None if known().next().is_none() => format!("; there is no [[{what}]]"),
            None => format!("; there are {}", known().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("no [[{what}]] has the name {}{hint}", quoted(&name.value));
        findings.fault(Some(name.at), message);
    }
    found
}
