//! Configuration: one TOML file becomes plain, checked data.
//!
//! Three steps. What was typed: the file as a tree that knows the place of every key (`file`), with
//! the environment put into its strings (`expand`). Then each key by the declaration of its table
//! ([`settings`](crate::settings)): those of which each key stands for itself are declared by the
//! parts, the others in `tables`. Then usable objects: `resolve` checks what keys say together, and
//! what has passed it needs no second look. Every fault is found in one go, with its line and
//! column, and a configuration with a fault is none.
//!
//! The documentation and the JSON Schema are written from the same declarations
//! ([`mod@reference`]).
//!
//! Only the application and the command line import this module: parts are handed what they need.
//!
//! ```
//! let text = r#"
//!     [[listener]]
//!     address = "127.0.0.1:8080"
//!     [[upstream]]
//!     name = "app"
//!     endpoints = ["http://127.0.0.1:3000"]
//!     [[route]]
//!     path = "/{*rest}"
//!     upstream = "app"
//!     pubic = true
//! "#;
//! let faults = keyward::config::parse(text, "keyward.toml", &|_| None).unwrap_err();
//! assert!(faults.to_string().contains("keyward.toml:10:5: unknown key \"pubic\"; did you mean \"public\"?"));
//! ```

mod checked;
mod document_address;
mod endpoint;
mod expand;
mod file;
mod identity_headers;
mod issuer;
mod listener;
mod net;
mod pairs;
mod pattern;
mod proxy;
mod redirect;
mod redis_url;
pub mod reference;
mod resolve;
mod routing;
mod store;
mod tables;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use checked::Config;
pub use issuer::{Fetching, Issuer, IssuerKeys, METADATA, Proxy};
pub use listener::{Listener, TrustedProxy};
pub use pattern::{PathPattern, Segment};
pub use proxy::ProxyEnvironment;
pub use routing::{Style, TokenApi, Upstream, UpstreamTls};
pub use store::{FleetSettings, Store};

pub use crate::settings::fault::{Fault, Faults, Place, Places};
pub use crate::settings::units::{ByteSize, TimeSpan};

use crate::files::{self, FileError};
use crate::settings::fault::Findings;

/// The largest configuration that is read, in bytes: far more than any needs.
const LONGEST_FILE: u64 = 4 * 1024 * 1024;

/// Reads and checks a configuration file, with the environment of the process.
///
/// # Errors
/// The operator's, all at once: a file that cannot be read, or what is wrong in it.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let origin = path.display().to_string();
    let text = read_text(path).map_err(|message| Faults::about_file(&origin, message))?;
    parse(&text, &origin, &|name| std::env::var(name).ok())
}

/// Checks a configuration. `origin` names it in faults, `env` looks variables up.
///
/// It touches no file but those of certificates, of passwords and of issuers' keys, which must be
/// readable.
///
/// # Errors
/// The operator's, all at once, in the order of the text.
pub fn parse(
    text: &str,
    origin: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Faults> {
    // Some editors leave a byte order mark; cut off, the columns of the first line are right.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let findings = Findings::new(text);
    let config = file::read(text, env, &findings).map(|tree| resolve::resolve(tree, &findings));
    let places = findings.places(origin);
    let warnings = findings.conclude(origin)?;
    Ok(Config { warnings, places, ..config.unwrap_or_default() })
}

fn read_text(path: &Path) -> Result<String, String> {
    let hint = "write one (config.example.toml shows every key), name another with --config, or \
                try \"keyward demo\", which needs none";
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no such file; {hint}"),
        std::io::ErrorKind::IsADirectory => format!("this is a directory, not a file; {hint}"),
        _ => format!("cannot be read: {error}"),
    };
    let content = files::read(path, LONGEST_FILE).map_err(|fault| match fault {
        FileError::Unreadable(error) => unreadable(error),
        FileError::TooLarge { most } => {
            format!("is larger than {}: not a configuration", ByteSize(most))
        }
        other => other.to_string(),
    })?;
    String::from_utf8(files::text_of(&content).into_owned()).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        format!("is not UTF-8 text: line {line} holds a byte that cannot stand there")
    })
}
