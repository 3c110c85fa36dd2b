//! Kinds that are made of others: lists, and values that know where they stand.

use super::describe::Shape;
use super::kind::Kind;
use super::section::Given;
use super::typed::{Node, Value};

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
    is_filled: bool,
    is_unique: bool,
}

/// One item, or a list of them that is not empty.
pub(crate) struct OneOrList<K> {
    item: K,
    is_unique: bool,
}

/// An address that may hold a password, as in `scheme://user:password@host`: no fault repeats it,
/// and the password must come out of the environment.
pub(crate) struct Private<T> {
    /// Completes "must be …".
    pub(crate) what: &'static str,
    /// Reads it, or says why not, without repeating anything of it.
    pub(crate) parse: fn(&str) -> Result<T, String>,
    /// Where to put a password that stands in it in clear: completes "put it".
    pub(crate) advice: &'static str,
}

pub(crate) const fn at<K: Kind>(kind: K) -> At<K> {
    At(kind)
}

/// A list without a rule about its items; empty, it says the same as if it were absent.
pub(crate) const fn list<K: Kind>(item: K) -> List<K> {
    List { item, is_filled: false, is_unique: false }
}

/// A list with at least one item.
pub(crate) const fn filled<K: Kind>(item: K) -> List<K> {
    List { item, is_filled: true, is_unique: false }
}

pub(crate) const fn one_or_list<K: Kind>(item: K) -> OneOrList<K> {
    OneOrList { item, is_unique: false }
}

impl<K> List<K> {
    /// No item may stand in it twice.
    pub(crate) fn unique(self) -> Self {
        Self { is_unique: true, ..self }
    }
}

impl<K> OneOrList<K> {
    /// No item may stand in it twice.
    pub(crate) fn unique(self) -> Self {
        Self { is_unique: true, ..self }
    }
}

impl<K: Kind> Kind for At<K> {
    type Value = Placed<K::Value>;

    fn what(&self) -> String {
        self.0.what()
    }

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

    fn what(&self) -> String {
        format!("an array, each item {}", self.item.what())
    }

    fn shape(&self) -> Shape {
        let item = Box::new(self.item.shape());
        Shape::List { item, is_filled: self.is_filled, is_unique: self.is_unique }
    }

    fn read(&self, given: &Given<'_>) -> Option<Self::Value> {
        let Value::Array(items) = &given.node.value else {
            given.unfit(&self.what(), "");
            return Some(Vec::new());
        };
        if self.is_filled {
            refuse_empty(items, &self.item, given);
        }
        Some(read_items(items, &self.item, self.is_unique, given))
    }

    fn spell(&self, list: &Self::Value) -> String {
        spell_items(list, &self.item)
    }
}

impl<K: Kind> Kind for OneOrList<K> {
    type Value = Vec<K::Value>;

    fn what(&self) -> String {
        format!("{}, or an array of those", self.item.what())
    }

    fn shape(&self) -> Shape {
        Shape::OneOrList(Box::new(self.item.shape()))
    }

    fn read(&self, given: &Given<'_>) -> Option<Self::Value> {
        Some(match &given.node.value {
            Value::Array(items) => {
                refuse_empty(items, &self.item, given);
                read_items(items, &self.item, self.is_unique, given)
            }
            Value::Text { .. } | Value::Broken => self.item.read(given).into_iter().collect(),
            _ => {
                given.unfit(&self.what(), "");
                Vec::new()
            }
        })
    }

    fn spell(&self, list: &Self::Value) -> String {
        spell_items(list, &self.item)
    }
}

fn refuse_empty<K: Kind>(items: &[Node], item: &K, given: &Given<'_>) {
    if items.is_empty() {
        given.fault(&format!("must not be empty: list at least one item, each {}", item.what()));
    }
}

fn read_items<K: Kind>(
    items: &[Node],
    kind: &K,
    is_unique: bool,
    given: &Given<'_>,
) -> Vec<K::Value> {
    let mut values: Vec<K::Value> = Vec::with_capacity(items.len());
    let mut seen: Vec<String> = Vec::new();
    for node in items {
        let Some(value) = kind.read(&given.item(node)) else { continue };
        if is_unique {
            let spelled = kind.spell(&value);
            if seen.contains(&spelled) {
                let key = given.key;
                given.findings.fault(Some(node.at), format!("{key:?} lists {spelled} twice"));
            }
            seen.push(spelled);
        }
        values.push(value);
    }
    values
}

fn spell_items<K: Kind>(list: &[K::Value], kind: &K) -> String {
    let items: Vec<_> = list.iter().map(|value| kind.spell(value)).collect();
    format!("[{}]", items.join(", "))
}

impl<T> Kind for Private<T> {
    type Value = T;

    fn what(&self) -> String {
        self.what.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Text
    }

    fn read(&self, given: &Given<'_>) -> Option<Self::Value> {
        let Value::Text { value, typed } = &given.node.value else {
            given.unfit(self.what, "");
            return None;
        };
        let read = (self.parse)(value);
        match &read {
            Ok(_) if typed.is_none() && holds_password(value) => {
                given.fault(&format!("holds a password in clear: put it {}", self.advice));
            }
            Ok(_) => {}
            Err(reason) => given.fault(&format!("must be {}: {reason}", self.what)),
        }
        read.ok()
    }

    fn spell(&self, _: &Self::Value) -> String {
        "\"[secret]\"".to_owned()
    }
}

/// Whether there is a password between the scheme and the host.
fn holds_password(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let user_info = authority.rsplit_once('@').map_or("", |(user_info, _)| user_info);
    user_info.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}
