//! The keys of a table: each is a kind of value together with what it means that the key is absent.

use std::marker::PhantomData;

use super::Settings;
use super::describe::{Key, Order, Rules, Shape};
use super::kind::{Kind, Span};
use super::section::{Row, Section};

/// A key as it is declared.
pub(crate) trait Entry {
    /// What the field of the table's struct holds.
    type Value;

    /// Takes it out of a table. What is wrong with it has been reported, and is as if absent.
    fn read(&self, key: &'static str, section: &Section<'_>) -> Self::Value;

    /// What it is where it is absent.
    fn absent(&self) -> Self::Value;

    /// What there is to know of it; the name and the text are the declaration's.
    fn describe(&self) -> Key;
}

/// A key with one value; `D`: what it is where it is absent.
pub(crate) struct Single<K, D> {
    kind: K,
    default: D,
    rules: Rules,
}

/// An absent key has this value.
pub(crate) struct Or<V>(V);

/// An absent key is `None`.
pub(crate) struct NoDefault;

/// How a kind becomes a key.
pub(crate) trait KindExt: Kind + Sized {
    /// With a default.
    fn or(self, default: Self::Value) -> Single<Self, Or<Self::Value>> {
        Single { kind: self, default: Or(default), rules: Rules::default() }
    }

    /// It may be absent, which means something of its own.
    fn optional(self) -> Single<Self, NoDefault> {
        Single { kind: self, default: NoDefault, rules: Rules::default() }
    }

    /// It must be there.
    fn required(self) -> Single<Self, NoDefault> {
        let rules = Rules { is_required: true, ..Rules::default() };
        Single { kind: self, default: NoDefault, rules }
    }
}

impl<K: Kind> KindExt for K {}

impl<D> Single<Span, D> {
    /// How it compares with the duration of another key.
    pub(crate) fn compared(mut self, order: Order, key: &'static str) -> Self {
        self.rules.compared = Some((order, key));
        self
    }
}

impl<K, D> Single<K, D> {
    /// It is allowed only where another key has this value.
    pub(crate) fn only_with(mut self, key: &'static str, word: &'static str) -> Self {
        self.rules.only_with = Some((key, word));
        self
    }

    /// It is of no use where another key has one of these values, each with the reason.
    pub(crate) fn useless_with(
        mut self,
        key: &'static str,
        words: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.rules.useless_with = Some((key, words));
        self
    }

    /// It needs one of these beside it.
    pub(crate) fn needs(mut self, keys: &'static [&'static str]) -> Self {
        self.rules.needs = keys;
        self
    }

    /// It cannot stand beside this one.
    pub(crate) fn excludes(mut self, key: &'static str) -> Self {
        self.rules.excludes = Some(key);
        self
    }
}

impl<K: Kind> Entry for Single<K, Or<K::Value>>
where
    K::Value: Clone,
{
    type Value = K::Value;

    fn read(&self, key: &'static str, section: &Section<'_>) -> K::Value {
        let given = section.given(key);
        given.and_then(|given| self.kind.read(&given)).unwrap_or_else(|| self.absent())
    }

    fn absent(&self) -> K::Value {
        self.default.0.clone()
    }

    fn describe(&self) -> Key {
        let default = Some(self.kind.spell(&self.default.0));
        Key { default, rules: self.rules, ..key(self.kind.shape()) }
    }
}

impl<K: Kind> Entry for Single<K, NoDefault> {
    type Value = Option<K::Value>;

    fn read(&self, key: &'static str, section: &Section<'_>) -> Self::Value {
        self.kind.read(&section.given(key)?)
    }

    fn absent(&self) -> Self::Value {
        None
    }

    fn describe(&self) -> Key {
        Key { rules: self.rules, ..key(self.kind.shape()) }
    }
}

/// A table in a table. Absent, all its keys have their defaults.
pub(crate) struct OneTable<T>(PhantomData<T>);

/// An array of tables.
pub(crate) struct Tables<T> {
    /// Completes "must be …" of a key that may be one table as well; none: it may not.
    one_or_many: Option<&'static str>,
    read_as: PhantomData<T>,
}

pub(crate) const fn table<T>() -> OneTable<T> {
    OneTable(PhantomData)
}

pub(crate) const fn tables<T>() -> Tables<T> {
    Tables { one_or_many: None, read_as: PhantomData }
}

/// A table, or an array of tables that is not empty. `what` completes "must be …".
pub(crate) const fn one_or_tables<T>(what: &'static str) -> Tables<T> {
    Tables { one_or_many: Some(what), read_as: PhantomData }
}

impl<T: Settings + Default> Entry for OneTable<T> {
    type Value = T;

    fn read(&self, key: &'static str, section: &Section<'_>) -> T {
        section.table(key)
    }

    fn absent(&self) -> T {
        T::default()
    }

    fn describe(&self) -> Key {
        key(Shape::Table(T::description()))
    }
}

impl<T: Settings> Entry for Tables<T> {
    type Value = Vec<Row<T>>;

    fn read(&self, key: &'static str, section: &Section<'_>) -> Self::Value {
        section.tables(key, self.one_or_many)
    }

    fn absent(&self) -> Self::Value {
        Vec::new()
    }

    fn describe(&self) -> Key {
        key(match self.one_or_many {
            Some(_) => Shape::OneOrTables(T::description()),
            None => Shape::Tables(T::description()),
        })
    }
}

fn key(shape: Shape) -> Key {
    Key { name: "", text: String::new(), shape, default: None, rules: Rules::default() }
}
