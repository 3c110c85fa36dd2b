//! How the parts declare what can be configured of them.
//!
//! A part declares its table once, with `settings!`: each key with its meaning, its kind of value
//! and its default. The struct, its `Default`, the reading with all its checks, and what the
//! reference (`docs/configuration.md`), the JSON Schema and the test of `config.example.toml` know
//! of the key come from that one declaration.
//!
//! ```text
//! settings! {
//!     /// How the process runs.
//!     pub struct ProcessSettings {
//!         /// Worker threads; 0: one per core.
//!         pub workers: usize = integer(0..=256).or(0),
//!     }
//! }
//! ```
//!
//! A table whose keys depend on each other is declared in the same way, with the keys as they are
//! typed, and `config` has a function that makes of them what the part takes.
//!
//! This layer has no I/O: `config` parses the file, and hands it over as a tree (`typed`).

pub(crate) mod address;
pub(crate) mod describe;
pub(crate) mod fault;
pub(crate) mod key;
pub(crate) mod kind;
pub(crate) mod list;
pub(crate) mod named;
mod secret;
pub(crate) mod section;
#[cfg(test)]
mod tests;
pub(crate) mod typed;
pub(crate) mod units;

pub use secret::Secret;

use describe::Description;
use key::Entry;
use section::Section;

/// A table whose keys are declared with [`settings!`].
pub(crate) trait Settings: Sized {
    /// Reads all keys. A wrong value is reported and counts as absent.
    fn read(section: &Section<'_>) -> Self;

    fn description() -> Description;
}

/// An entry for a field of this type.
pub(crate) const fn entry_of<T, E: Entry<Value = T>>(entry: E) -> E {
    entry
}

/// The name of a key whose field has this name: `for` where that is `r#for`.
pub(crate) fn name_of(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// Declares a table: doc comments, the struct, and for each field a [`key::Entry`].
macro_rules! settings {
    (
        $(#[doc = $text:literal])*
        $(#[derive($($more:ident),+)])?
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $key_text:literal])*
                $key_vis:vis $key:ident: $type:ty = $entry:expr,
            )*
        }
    ) => {
        $(#[doc = $text])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $(#[derive($($more),+)])?
        $vis struct $name {
            $(
                $(#[doc = $key_text])*
                #[doc = ""]
                #[doc = concat!("Declared as `", stringify!($entry), "`.")]
                $key_vis $key: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                use $crate::settings::key::Entry as _;
                Self { $($key: $crate::settings::entry_of::<$type, _>($entry).absent(),)* }
            }
        }

        impl $crate::settings::Settings for $name {
            fn read(section: &$crate::settings::section::Section<'_>) -> Self {
                use $crate::settings::key::Entry as _;
                Self {
                    $(
                        $key: $crate::settings::entry_of::<$type, _>($entry)
                            .read($crate::settings::name_of(stringify!($key)), section),
                    )*
                }
            }

            fn description() -> $crate::settings::describe::Description {
                use $crate::settings::describe::{Description, Key, prose};
                use $crate::settings::key::Entry as _;
                Description {
                    text: prose(concat!($($text, "\n",)*)),
                    keys: vec![
                        $(Key {
                            name: $crate::settings::name_of(stringify!($key)),
                            text: prose(concat!($($key_text, "\n",)*)),
                            ..$crate::settings::entry_of::<$type, _>($entry).describe()
                        },)*
                    ],
                }
            }
        }
    };
}

pub(crate) use settings;
