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
    fn read(&self, key: &'static str, section: &mut Section<'_>) -> Self::Value;

    /// What it is where it is absent.
    fn absent(&self) -> Self::Value;

    /// What there is to know of it; the name and the text are the declaration's.
    fn describe(&self) -> Key;
}

/// A key with a default.
pub(crate) struct Defaulted<K: Kind> {
    kind: K,
    default: K::Value,
    rules: Rules,
}

/// A key without a default.
pub(crate) struct Bare<K> {
    kind: K,
    rules: Rules,
}

/// How a kind becomes a key.
pub(crate) trait KindExt: Kind + Sized {
    /// With a default.
    fn or(self, default: Self::Value) -> Defaulted<Self> {
        Defaulted { kind: self, default, rules: Rules::default() }
    }

    /// It may be absent, which means something of its own.
    fn optional(self) -> Bare<Self> {
        Bare { kind: self, rules: Rules::default() }
    }

    /// It must be there.
    fn required(self) -> Bare<Self> {
        Bare { kind: self, rules: Rules { is_required: true, ..Rules::default() } }
    }
}

impl<K: Kind> KindExt for K {}

impl Defaulted<Span> {
    /// How it compares with the duration of another key.
    pub(crate) fn compared(self, order: Order, key: &'static str) -> Self {
        Self { rules: Rules { compared: Some((order, key)), ..self.rules }, ..self }
    }
}

impl<K: Kind> Defaulted<K> {
    /// It is allowed only where another key has this value.
    pub(crate) fn only_with(self, key: &'static str, word: &'static str) -> Self {
        Self { rules: Rules { only_with: Some((key, word)), ..self.rules }, ..self }
    }

    /// It is of no use where another key has one of these values, each with the reason.
    pub(crate) fn useless_with(
        self,
        key: &'static str,
        words: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { rules: Rules { useless_with: Some((key, words)), ..self.rules }, ..self }
    }
}

impl<K> Bare<K> {
    /// It is allowed only where another key has this value.
    pub(crate) fn only_with(self, key: &'static str, word: &'static str) -> Self {
        Self { rules: Rules { only_with: Some((key, word)), ..self.rules }, ..self }
    }

    /// It is of no use where another key has one of these values, each with the reason.
    pub(crate) fn useless_with(
        self,
        key: &'static str,
        words: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { rules: Rules { useless_with: Some((key, words)), ..self.rules }, ..self }
    }

    /// It needs one of these beside it.
    pub(crate) fn needs(self, keys: &'static [&'static str]) -> Self {
        Self { rules: Rules { needs: keys, ..self.rules }, ..self }
    }

    /// It cannot stand beside this one.
    pub(crate) fn excludes(self, key: &'static str) -> Self {
        Self { rules: Rules { excludes: Some(key), ..self.rules }, ..self }
    }
}

impl<K: Kind> Entry for Defaulted<K>
where
    K::Value: Clone,
{
    type Value = K::Value;

    fn read(&self, key: &'static str, section: &mut Section<'_>) -> K::Value {
        section.take(key, |given| self.kind.read(given)).unwrap_or_else(|| self.absent())
    }

    fn absent(&self) -> K::Value {
        self.default.clone()
    }

    fn describe(&self) -> Key {
        let default = Some(self.kind.spell(&self.default));
        Key { default, rules: self.rules, ..key(self.kind.what(), self.kind.shape()) }
    }
}

impl<K: Kind> Entry for Bare<K> {
    type Value = Option<K::Value>;

    fn read(&self, key: &'static str, section: &mut Section<'_>) -> Self::Value {
        section.take(key, |given| self.kind.read(given))
    }

    fn absent(&self) -> Self::Value {
        None
    }

    fn describe(&self) -> Key {
        Key { rules: self.rules, ..key(self.kind.what(), self.kind.shape()) }
    }
}

/// A table in a table. Absent, all its keys have their defaults.
pub(crate) struct OneTable<T>(PhantomData<T>);

/// An array of tables.
pub(crate) struct ManyTables<T>(PhantomData<T>);

/// A table, or an array of tables that is not empty.
pub(crate) struct OneOrTables<T> {
    what: &'static str,
    read_as: PhantomData<T>,
}

pub(crate) const fn table<T>() -> OneTable<T> {
    OneTable(PhantomData)
}

pub(crate) const fn tables<T>() -> ManyTables<T> {
    ManyTables(PhantomData)
}

/// `what` completes "must be …".
pub(crate) const fn one_or_tables<T>(what: &'static str) -> OneOrTables<T> {
    OneOrTables { what, read_as: PhantomData }
}

impl<T: Settings + Default> Entry for OneTable<T> {
    type Value = T;

    fn read(&self, key: &'static str, section: &mut Section<'_>) -> T {
        section.table(key)
    }

    fn absent(&self) -> T {
        T::default()
    }

    fn describe(&self) -> Key {
        key("a table".to_owned(), Shape::Table(T::description()))
    }
}

impl<T: Settings> Entry for ManyTables<T> {
    type Value = Vec<Row<T>>;

    fn read(&self, key: &'static str, section: &mut Section<'_>) -> Self::Value {
        section.tables(key)
    }

    fn absent(&self) -> Self::Value {
        Vec::new()
    }

    fn describe(&self) -> Key {
        key("a list of tables".to_owned(), Shape::Tables(T::description()))
    }
}

impl<T: Settings> Entry for OneOrTables<T> {
    type Value = Vec<Row<T>>;

    fn read(&self, key: &'static str, section: &mut Section<'_>) -> Self::Value {
        section.one_or_tables(key, self.what)
    }

    fn absent(&self) -> Self::Value {
        Vec::new()
    }

    fn describe(&self) -> Key {
        key(self.what.to_owned(), Shape::OneOrTables(T::description()))
    }
}

fn key(what: String, shape: Shape) -> Key {
    Key { name: "", text: String::new(), what, shape, default: None, rules: Rules::default() }
}
