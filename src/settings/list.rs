//! Kinds that are made of others: lists, and values that know where they stand.

use super::describe::Shape;
use super::kind::Kind;
use super::section::Given;
use super::typed::Value;

/// A value and where it stands, for checks that compare one with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    /// A byte offset.
    pub(crate) at: usize,
    pub(crate) value: T,
}

/// A value that knows where it stands.
pub(crate) struct At<K>(K);

/// A list. What is wrong in it is left out, each with a fault.
pub(crate) struct List<K> {
    item: K,
    /// Whether it must have an item.
    is_filled: bool,
    /// Whether no item may stand in it twice.
    is_unique: bool,
    /// Whether it may be one item without brackets.
    takes_one: bool,
}

pub(crate) const fn at<K: Kind>(kind: K) -> At<K> {
    At(kind)
}

/// A list without a rule about its items; empty, it says the same as if it were absent.
pub(crate) const fn list<K: Kind>(item: K) -> List<K> {
    List { item, is_filled: false, is_unique: false, takes_one: false }
}

/// A list with at least one item.
pub(crate) const fn filled<K: Kind>(item: K) -> List<K> {
    List { item, is_filled: true, is_unique: false, takes_one: false }
}

/// One string, or a list of them that is not empty.
pub(crate) const fn one_or_list<K: Kind>(item: K) -> List<K> {
    List { item, is_filled: true, is_unique: false, takes_one: true }
}

impl<K> List<K> {
    /// No item may stand in it twice.
    pub(crate) fn unique(self) -> Self {
        Self { is_unique: true, ..self }
    }
}

impl<K: Kind> Kind for At<K> {
    type Value = Placed<K::Value>;

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn read(&self, given: &Given<'_>) -> Option<Self::Value> {
        self.0.read(given).map(|value| Placed { at: given.node.at, value })
    }

    fn spell(&self, placed: &Self::Value) -> String {
        self.0.spell(&placed.value)
    }
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn shape(&self) -> Shape {
        let item = Box::new(self.item.shape());
        if self.takes_one {
            return Shape::OneOrList(item);
        }
        Shape::List { item, is_filled: self.is_filled, is_unique: self.is_unique }
    }

    fn read(&self, given: &Given<'_>) -> Option<Self::Value> {
        let items = match &given.node.value {
            Value::Array(items) => items,
            Value::Text { .. } if self.takes_one => {
                return Some(self.item.read(given).into_iter().collect());
            }
            _ => {
                given.unfit(&self.shape().what(), "");
                return Some(Vec::new());
            }
        };
        if self.is_filled && items.is_empty() {
            let what = self.item.shape().what();
            given.fault(&format!("must not be empty: list at least one item, each {what}"));
        }
        let mut values: Vec<K::Value> = Vec::with_capacity(items.len());
        let mut seen: Vec<String> = Vec::new();
        for node in items {
            let Some(value) = self.item.read(&given.item(node)) else { continue };
            if self.is_unique {
                let spelled = self.item.spell(&value);
                if seen.contains(&spelled) {
                    let key = given.key;
                    given.findings.fault(Some(node.at), format!("{key:?} lists {spelled} twice"));
                }
                seen.push(spelled);
            }
            values.push(value);
        }
        Some(values)
    }

    fn spell(&self, list: &Self::Value) -> String {
        let items: Vec<_> = list.iter().map(|value| self.item.spell(value)).collect();
        format!("[{}]", items.join(", "))
    }
}
